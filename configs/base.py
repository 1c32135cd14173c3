"""Every option at its default; the other configs start from this one and change what differs.

docs/options.md explains all of them, and so does `python -m cifar_jax options [WORD]`. Any option
can be set on the command line, such as --config.optimizer.learning_rate=3e-4 or
--config.model.widths='(64,128,256)'; --config.optimizer.momentum=None unsets what a config sets.
"""

from cifar_jax.config import get_config

__all__ = ['get_config']
