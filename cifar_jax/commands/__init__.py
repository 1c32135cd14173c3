"""The commands other than training: python -m cifar_jax VERB ...

Every module in this folder but `parsing` is a verb and has two functions:

* `add_parser(verbs)` adds the verb with `parsing.add_verb` and then its options;
* `run(arguments)` does the work; imports of other packages are inside it, so that `--help` of any
  verb appears at once, JAX starts with what `startup` has set, and the doctor works whatever is
  missing.

A large verb, or one with verbs of its own, is a folder whose `__init__` has the same two functions.
"""

import sys
from collections.abc import Sequence

from cifar_jax.commands import parsing
from cifar_jax.startup import accelerators, host_memory, xla_flags
from cifar_jax.utils.errors import exit_on_user_error

_DESCRIPTION = """\
Works with configs, and with runs of launch.py, finished or not.

  python launch.py --config=configs/cnn_adv.py       # trains; the same line again resumes
  python -m cifar_jax evaluate runs/cnn_adv
  python -m cifar_jax report runs/cnn_adv
  python -m cifar_jax predict runs/cnn_adv cat.jpg
  python -m cifar_jax dashboard runs
  python -m cifar_jax summary --config=configs/cnn_adv.py
  python -m cifar_jax doctor

Each verb has its own --help, with examples.
"""


def main(argv: Sequence[str] | None = None) -> None:
  """Runs one verb; ends with status 2 and one line on stderr if the user has to mend something."""
  with exit_on_user_error():
    arguments = parsing.parse(make_parser(), argv)  # a RUN may be downloaded for it
    if arguments.keeps_memory:
      host_memory.configure_malloc()
    if arguments.starts_jax:
      xla_flags.set_flags()
    if arguments.computes:
      accelerators.warn_if_unused()
    arguments.action(arguments)


def make_parser() -> parsing.Program:
  """The command line with all verbs."""
  return parsing.make_parser('python -m cifar_jax', _DESCRIPTION, sys.modules[__name__])
