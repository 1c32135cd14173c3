"""Every option at its default; the other configs start from this one and change what differs.

docs/options.md lists and explains them all, and so does `python -m cifar_jax options [WORD]`.
Override on the command line: --config.optimizer.learning_rate=3e-4
--config.model.widths='(64,128,256)'; --config.optimizer.momentum=None unsets what a config sets.
"""

from cifar_jax.config import get_config

__all__ = ['get_config']
