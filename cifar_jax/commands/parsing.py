"""What the command lines of several verbs have in common."""

import argparse
import importlib
import pathlib
import pkgutil
import re
import types
from collections.abc import Callable, Sequence
from typing import Any

from cifar_jax.run_dir import references
from cifar_jax.utils import paths
from cifar_jax.utils.errors import UserError

HelpShape = argparse.RawDescriptionHelpFormatter


def make_parser(
  program: str, description: str, *packages: types.ModuleType
) -> argparse.ArgumentParser:
  """The command line of a program, with the verbs in some packages."""
  parser = argparse.ArgumentParser(
    program, description=description, formatter_class=HelpShape, allow_abbrev=False
  )
  verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
  for package in packages:
    add_verbs(verbs, package.__name__, package.__path__)
  return parser


def add_verbs(verbs: Any, package: str, path: Sequence[str]) -> None:
  """Adds the verbs of a package: its modules that have a function `add_parser`."""
  for found in pkgutil.iter_modules(path):
    module = importlib.import_module(f'{package}.{found.name}')
    if hasattr(module, 'add_parser'):
      module.add_parser(verbs)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
  """The arguments of a command line, with `overrides` of a config where the verb takes them; ends
  the process with status 2 and a line on stderr where a word is unknown.
  """
  arguments, rest = parser.parse_known_args(argv)
  arguments.overrides = [word for word in rest if re.match(r'--?(no)?config\.', word)]
  known = arguments.overrides if arguments.takes_overrides else []
  unknown = [word for word in rest if word not in known]
  if unknown:
    parser.error(f'unrecognized: {" ".join(unknown)}')
  return arguments


def add_verb(
  verbs: Any,
  name: str,
  action: Callable[[argparse.Namespace], None],
  about: str,
  description: str,
  takes_overrides: bool = False,
  keeps_memory: bool = True,
  computes: bool = False,
  starts_jax: bool = True,
) -> argparse.ArgumentParser:
  """Adds a verb to a command line.

  Args:
    action: The function that does the work; it gets the parsed arguments, with `overrides` among
      them.
    about: Half a line for the list of verbs.
    description: What the verb does, and an example of its use, indented by two.
    takes_overrides: Whether options such as --config.epochs=3 may follow; `action` finds them in
      `arguments.overrides`, as `config.parse.load` takes them.
    keeps_memory: Whether memory that is freed stays with the process, which makes steps faster; see
      `startup.host_memory`.
    computes: Whether an accelerator would help, so that one that is not used is spoken of.
    starts_jax: Whether the process may start JAX, for which flags are set then.
  """
  parser = verbs.add_parser(
    name, help=about, description=description, formatter_class=HelpShape, allow_abbrev=False
  )
  parser.set_defaults(
    action=action,
    takes_overrides=takes_overrides,
    keeps_memory=keeps_memory,
    computes=computes,
    starts_jax=starts_jax,
  )
  return parser


def _type_of(read: Callable[[str], pathlib.Path]) -> Callable[[str], pathlib.Path]:
  """The `type` of an argument that is a path as a function of `paths` reads it."""

  def parse(text: str) -> pathlib.Path:
    if not text:  # as of a variable of the shell that is not set
      raise argparse.ArgumentTypeError("it is empty; name a path ('.' is the current folder)")
    try:
      return read(text)
    except UserError as error:
      raise argparse.ArgumentTypeError(str(error)) from None

  return parse


path, run_path = _type_of(paths.user_path), _type_of(paths.run_path)
run_reference = _type_of(references.resolve)
_OPTIONS: dict[str, dict[str, Any]] = {
  'run': {
    'type': run_reference,
    'metavar': 'RUN',
    'help': 'folder of the run, a model folder, or zoo:NAME (see zoo list)',
  },
  'runs': {
    'type': run_reference,
    'metavar': 'RUN',
    'nargs': '+',
    'help': 'folder of a run, a model folder, or zoo:NAME',
  },
  '--checkpoint': {'default': 'latest', 'help': "'latest' (default), 'best' or a step number"},
  '--data_dir': {'help': 'where the data is now, if it has moved since training'},
  '--split': {
    'choices': ['train', 'validation', 'test'],
    'help': 'which images to measure the network on; default: test, or validation where the '
    'run leaves the test set unopened (--config.evaluate.test=False)',
  },
  '--progress': {
    'default': 'auto',
    'choices': ['auto', 'bar', 'lines', 'silent'],
    'help': 'auto: a bar on a terminal, one line per epoch elsewhere',
  },
  '--host': {'default': '127.0.0.1', 'help': 'default: 127.0.0.1, this machine alone'},
  '--name': {
    'action': 'append',
    'default': [],
    'metavar': 'HOST',
    'help': 'another name in the address bar, as behind a proxy or a forwarded port; may be '
    'repeated',
  },
  '--config': {'required': True, 'metavar': 'FILE', 'help': 'path of the config file'},
}


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
  """Adds arguments that several verbs have, by their names above."""
  for name in names:
    parser.add_argument(name, **_OPTIONS[name])
