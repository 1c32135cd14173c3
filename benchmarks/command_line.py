"""The command line: python -m benchmarks VERB ...

Every module in speed/ and results/ is a verb and has the two functions that a verb of
`cifar_jax.commands` has: `add_parser(verbs)` and `run(arguments)`. Heavy imports (JAX, Keras,
matplotlib) stand inside functions, so that `--help` of any verb comes at once. What verbs share is
in folders of their own, which are no verbs.
"""

import argparse
import contextlib
import math
from collections.abc import Sequence
from typing import Any

from benchmarks import results, speed, tables
from benchmarks.speed.systems.workers import OURS, PEERS
from cifar_jax.commands import parsing
from cifar_jax.startup import process
from cifar_jax.utils.errors import exit_on_user_error

_DESCRIPTION = """\
Measures how fast training is, and gathers what runs reached, in tables in results/.

  python -m benchmarks throughput --configs=lr,cnn_adv --systems=ours,plain
  python -m benchmarks time_to_accuracy --config=configs/fast83.py --runs=5
  python -m benchmarks collect runs/lr runs/cnn_adv

Each verb has its own --help with an example.
"""


def main(argv: Sequence[str] | None = None) -> None:
  """Runs one verb; ends with status 2 and one line on stderr if the user has to mend something."""
  arguments = parsing.parse(make_parser(), argv)
  with exit_on_user_error(), process.catching_interrupts():  # workers and caches are cleared away
    arguments.action(arguments)


def make_parser() -> parsing.Program:
  """The command line with all verbs."""
  return parsing.make_parser('python -m benchmarks', _DESCRIPTION, speed, results)


def number(kind: type[int] | type[float], lowest: float, highest: float = math.inf) -> Any:
  """The `type` of an argument that is a number within bounds, which are included."""

  def parse(text: str) -> float:
    with contextlib.suppress(ValueError):
      if lowest <= (value := kind(text)) <= highest:
        return value
    raise argparse.ArgumentTypeError(f'{text} is no {kind.__name__} from {lowest} to {highest}')

  return parse


def _systems(text: str) -> list[str]:
  for word in text.split(','):
    if word not in (*OURS, *PEERS):
      raise argparse.ArgumentTypeError(f'{word!r} is not among {_SYSTEMS}')
  return text.split(',')


_SYSTEMS = ', '.join((*OURS, *PEERS))
_OPTIONS: dict[str, dict[str, Any]] = {
  'config': {'metavar': 'FILE', 'help': 'path of the config file'},
  'configs': {'metavar': 'NAME,...', 'help': 'names of files in configs/'},
  'systems': {'metavar': 'NAME,...', 'type': _systems, 'help': f'among {_SYSTEMS}'},
  'repeats': {'metavar': 'N', 'type': number(int, 1), 'help': 'measurements of each, in turns'},
  'seconds': {'type': number(float, 0), 'help': 'about how long one measurement takes'},
  'out': {'metavar': 'FILE', 'type': parsing.path, 'help': 'CSV file of the results'},
}


def add_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
  """Adds options that several verbs have, with these defaults; `out` is a name in results/."""
  for name, default in defaults.items():
    if name == 'out':
      default = tables.RESULTS / f'{default}.csv'
    about = {**_OPTIONS[name], 'help': f'{_OPTIONS[name]["help"]}; default: %(default)s'}
    parser.add_argument(f'--{name}', default=default, **about)
