"""What the command lines of several verbs have in common."""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

from cifar_jax.utils import paths
from cifar_jax.utils.errors import UserError

HelpShape = argparse.RawDescriptionHelpFormatter


def add_verb(
  verbs: Any,
  name: str,
  action: Callable[[argparse.Namespace], None],
  about: str,
  description: str,
  takes_overrides: bool = False,
  keeps_memory: bool = True,
) -> argparse.ArgumentParser:
  """Adds a verb to a command line.

  Args:
    verbs: What `add_subparsers` returned.
    name: The word that users type.
    action: The function that does the work; it gets the parsed arguments, with `overrides` among
      them.
    about: Half a line for the list of verbs.
    description: What the verb does, and an example of its use, indented by two.
    takes_overrides: Whether options such as --config.epochs=3 may follow; `action` finds them in
      `arguments.overrides`, as `config.parse.load` takes them.
    keeps_memory: Whether memory that is freed stays with the process, which makes steps faster; see
      `startup.host_memory`.
  """
  parser = verbs.add_parser(
    name, help=about, description=description, formatter_class=HelpShape, allow_abbrev=False
  )
  parser.set_defaults(action=action, takes_overrides=takes_overrides, keeps_memory=keeps_memory)
  return parser


def path(text: str) -> pathlib.Path:
  """The `type` of an argument that is a path: see `paths.user_path`."""
  try:
    return paths.user_path(text)
  except UserError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def run_path(text: str) -> pathlib.Path:
  """The `type` of an argument that is the folder of a run: see `paths.run_path`."""
  try:
    return paths.run_path(text)
  except UserError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def add_run(parser: argparse.ArgumentParser, many: bool = False) -> None:
  """Adds the folder of a run, or of several."""
  parser.add_argument(
    'runs' if many else 'run',
    nargs='+' if many else None,
    type=run_path,
    metavar='RUN',
    help='folder of a run' if many else 'folder of the run',
  )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
  """Adds which checkpoint to look at, and where its data are now."""
  parser.add_argument(
    '--checkpoint', default='latest', help="'latest' (default), 'best' or a step number"
  )
  parser.add_argument(
    '--data_dir', default=None, help='where the data is now, if it has moved since training'
  )


def add_split(parser: argparse.ArgumentParser) -> None:
  """Adds which images to measure the network on."""
  parser.add_argument(
    '--split', default='test', choices=['train', 'validation', 'test'], help='default: test'
  )


def add_config(parser: argparse.ArgumentParser) -> None:
  """Adds the path of a config file."""
  parser.add_argument('--config', required=True, metavar='FILE', help='path of the config file')
