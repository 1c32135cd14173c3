"""What the command lines of several verbs have in common."""

import argparse
import importlib
import pathlib
import pkgutil
import shlex
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cifar_jax.utils import dotted_options, paths
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

HelpShape = argparse.RawDescriptionHelpFormatter
# How the verbs of a program are listed, those of a group below its name. `launch.py` trains.
GROUPS = ('Train', 'Look', 'Use', 'Try many', 'Share', 'Data and machine')
_OTHERS = 'Verbs'  # that name no group


class Program(argparse.ArgumentParser):
  """The command line of a program with verbs, which its help lists by group.

  Attributes:
    verbs: What `add_verb` takes.
  """

  def __init__(self, program: str, description: str):
    super().__init__(
      program, description=description, formatter_class=HelpShape, allow_abbrev=False
    )
    self.verbs = self.add_subparsers(
      dest='verb',
      required=True,
      metavar='VERB',
      help=argparse.SUPPRESS,
      parser_class=argparse.ArgumentParser,
    )
    self.usage = '%(prog)s VERB ...'

  def by_group(self) -> Iterator[tuple[str, dict[str, argparse.ArgumentParser]]]:
    """The verbs by name, group by group."""
    for group in (*GROUPS, _OTHERS):
      found = {
        name: parser
        for name, parser in self.verbs.choices.items()
        if (parser.get_default('group') or _OTHERS) == group
      }
      if found:
        yield group, found

  def format_help(self) -> str:
    """Usage, description, and the verbs by group, each with half a line."""
    width = max(len(name) for name in self.verbs.choices)
    lines = [f'usage: {self.prog} VERB ...', '', (self.description or '').rstrip()]
    for group, parsers in self.by_group():
      lines += ['', f'{group}:']
      lines += [f'  {name:<{width}}  {p.get_default("about")}' for name, p in parsers.items()]
    return '\n'.join([*lines, ''])

  def check_verb(self, argv: Sequence[str]) -> None:
    """Ends the process with status 2 where no verb is named, or one that is not there: with the
    help, or with a line that has the nearest right name.
    """
    if not argv:
      self.exit(2, self.format_help())
    word, known = argv[0], self.verbs.choices
    if word == 'train' and word not in known:
      self.exit(2, 'error: to train, run python launch.py --config=configs/NAME.py\n')
    if word not in known and not word.startswith('-'):
      self.exit(2, f'error: there is no verb {word!r}{did_you_mean(word, known)}\n')


def make_parser(program: str, description: str, *packages: types.ModuleType) -> Program:
  """The command line of a program, with the verbs in some packages."""
  parser = Program(program, description)
  for package in packages:
    add_verbs(parser.verbs, package.__name__, package.__path__)
  return parser


def add_verbs(verbs: Any, package: str, path: Sequence[str]) -> None:
  """Adds the verbs of a package: its modules that have a function `add_parser`."""
  for found in pkgutil.iter_modules(path):
    module = importlib.import_module(f'{package}.{found.name}')
    if hasattr(module, 'add_parser'):
      module.add_parser(verbs)


def parse(parser: Program, argv: Sequence[str] | None) -> argparse.Namespace:
  """The arguments of a command line, with `overrides` of a config and `data_options` of other data
  where the verb takes them; ends the process with status 2 and a line on stderr where a word is
  unknown.
  """
  words = sys.argv[1:] if argv is None else list(argv)
  parser.check_verb(words)
  words, overrides = dotted_options.split(words, 'config')
  words, data_options = dotted_options.split(words, 'data')
  arguments, unknown = parser.parse_known_args(words)
  arguments.overrides, arguments.data_options = overrides, data_options
  unknown += [] if arguments.takes_overrides else overrides
  unknown += [] if arguments.takes_data else data_options
  if unknown:
    parser.error(f'unrecognized: {shlex.join(unknown)}')
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
  group: str = '',
  takes_data: bool = False,
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
    group: Which of `GROUPS` lists it; '' for a verb of another, and of a program without groups.
    takes_data: Whether options such as --data.name=folder may follow, which name other data than
      the run's own; `action` finds them in `arguments.data_options`.
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
    about=about,
    group=group,
    takes_data=takes_data,
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


def _resolve(text: str) -> pathlib.Path:
  from cifar_jax.run_dir import references  # which imports JAX, and no help needs it

  return references.resolve(text)


path, run_path = _type_of(paths.user_path), _type_of(paths.run_path)
run_reference = _type_of(_resolve)
_OPTIONS: dict[str, dict[str, Any]] = {
  'run': {
    'type': run_reference,
    'metavar': 'RUN',
    'help': 'folder of the run, a model folder, zoo:NAME (see zoo list) or hub:OWNER/NAME',
  },
  'runs': {
    'type': run_reference,
    'metavar': 'RUN',
    'nargs': '+',
    'help': 'folder of a run, a model folder, zoo:NAME or hub:OWNER/NAME',
  },
  '--checkpoint': {'default': 'latest', 'help': "'latest' (default), 'best' or a step number"},
  '--data_dir': {'help': 'where the data are now, if they have moved since training'},
  '--split': {
    'choices': ['train', 'validation', 'test'],
    'help': 'which images to measure the network on; default: test, or validation if the run '
    'leaves the test set unopened (--config.evaluate.test=False)',
  },
  '--classes': {
    'default': '',
    'metavar': 'A=B,...',
    'help': 'for other data: their class A is class B of the run, where the names differ',
  },
  '--skip_unknown_classes': {
    'action': 'store_true',
    'help': 'for other data: leave out images of classes that the run does not have',
  },
  '--progress': {
    'default': 'auto',
    'choices': ['auto', 'bar', 'lines', 'silent'],
    'help': 'auto: a bar on a terminal, one line per epoch elsewhere',
  },
  '--host': {'default': '127.0.0.1', 'help': 'default: 127.0.0.1, only this machine'},
  '--name': {
    'action': 'append',
    'default': [],
    'metavar': 'HOST',
    'help': 'another name by which browsers reach the page, for example through a proxy or a '
    'forwarded port; may be repeated',
  },
  '--config': {'required': True, 'metavar': 'FILE', 'help': 'path of the config file'},
}


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
  """Adds arguments that several verbs have, by their names above."""
  for name in names:
    parser.add_argument(name, **_OPTIONS[name])


def data_request(arguments: argparse.Namespace) -> Any:
  """The other data that a command line names, an `any_set.Request`; None where it names none.

  Raises:
    UserError: it says how classes are matched, but not of which data.
  """
  if not arguments.data_options:
    for option in ('classes', 'skip_unknown_classes'):
      if getattr(arguments, option):
        raise UserError(
          f"--{option} is for other data than the run's own; name them, as "
          '--data.name=folder --data.dir=photos'
        )
    return None
  from cifar_jax.predict.any_set import Request

  return Request(
    tuple(arguments.data_options),
    arguments.classes,
    arguments.skip_unknown_classes,
    arguments.split,
  )
