"""Lists and shows the trained weights that come with the package.

Every command that takes a RUN also takes zoo:NAME, and so does --config.init_from.

  python -m cifar_jax zoo list
  python -m cifar_jax zoo show fast90
  python -m cifar_jax predict zoo:fast90 cat.jpg
  python launch.py --config=configs/fast90.py --config.init_from=zoo:fast90
"""

from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb with its own verbs to the command line."""
  parser = verbs.add_parser(
    'zoo',
    help='lists the trained weights that come with the package',
    description=__doc__,
    formatter_class=parsing.HelpShape,
    allow_abbrev=False,
  )
  parser.set_defaults(about='lists the trained weights that come with the package', group='Share')
  own = parser.add_subparsers(dest='zoo_verb', metavar='VERB', required=True)
  parsing.add_verbs(own, __name__, __path__)
