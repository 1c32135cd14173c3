"""The command lines that the README, the pages of docs/ and the docstrings of configs show."""

import functools
import pathlib
import re
import shlex
import textwrap
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import launch
from benchmarks import command_line
from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.commands import parsing
from tests.helpers import REPOSITORY

# What none of our parsers reads, by how the line begins, and why it is not run here.
OTHERS = {
  '#SBATCH': 'SLURM reads it',
  '. .venv/bin/activate': 'the environment of the reader',
  'apptainer': 'containers are not at hand',
  'apt': 'installs',
  'cd ': 'a folder of the reader',
  'conda': 'installs',
  'curl': 'no network',
  'docker': 'containers are not at hand',
  'export': 'a variable of the shell',
  'gcloud': 'no cloud is at hand',
  'git': 'no repository of the reader is at hand',
  'huggingface-cli': 'no network',
  'kill': 'ends a process of the reader',
  'kubectl': 'no cluster is at hand',
  'mkdocs': 'tests/site/test_build.py builds the site',
  'mypy': 'the checks of .ci/run',
  'nvidia-smi': 'no GPU is at hand',
  'pip': 'installs',
  'pre-commit': 'the checks of .ci/run',
  'pytest': 'the tests themselves',
  'python -m mkdocs': 'tests/site/test_build.py builds the site',
  'python -m pages': 'tests/site/test_build.py builds the site',
  'python -m venv': 'makes an environment',
  'python3 -m venv': 'makes an environment',
  'ruff': 'the checks of .ci/run',
  'sbatch': 'no cluster is at hand',
  'source': 'the environment of the reader',
  'ssh': 'another machine',
  'tensorboard': 'a server that does not end',
  'uv': 'installs',
  'unzip': 'an archive of the reader',
}
_SHELLS = ('', 'bash', 'console', 'sh', 'shell')
VARIABLES = r'(?:[A-Z_]+=\S* )*'
_OURS = re.compile(
  VARIABLES + r'(?:\S*/)?python3?(?:\.\d+)? (?:\S*/)?(launch\.py|-m cifar_jax|-m benchmarks)\b'
)


class Line(NamedTuple):
  """A command line, and where it is shown."""

  place: str
  text: str


def pages() -> list[pathlib.Path]:
  """The files in Markdown whose command lines a reader may copy."""
  return sorted([REPOSITORY / 'README.md', *REPOSITORY.glob('CONTRIBUTING.md'),
                 *(REPOSITORY / 'docs').rglob('*.md')])  # fmt: skip


def lines_of_page(path: pathlib.Path) -> list[Line]:
  """The lines of a file; see `lines_of_markdown`."""
  return lines_of_markdown(path.relative_to(REPOSITORY).as_posix(), path.read_text('utf-8'))


def lines_of_markdown(name: str, page: str) -> list[Line]:
  """The lines in a page's blocks of the shell, and those of ours in blocks without a language."""
  found = []
  for number, language, _, text in _blocks(page):
    if language in _SHELLS:
      found += [
        Line(f'{name}:{number}', line) for line in split(text) if language or _OURS.match(line)
      ]
  return found


def files_of_page(path: pathlib.Path) -> dict[str, str]:
  """What a page has its reader write, by name: the blocks with a title, as in
  ```python title="configs/mine.py".
  """
  return {title: text for _, _, title, text in _blocks(path.read_text('utf-8')) if title}


def _blocks(page: str) -> Iterator[tuple[int, str, str, str]]:
  """Each fenced block of a page: the number of its first line, its language and title, or '', and
  its text. All are read in order, since the end of one looks like the beginning of another.
  """
  fenced = r'^( *)```(\w*)(?: +title="([^"]+)")?[^\n]*\n(.*?)^\1```'
  for block in re.finditer(fenced, page, re.M | re.S):
    number = page.count('\n', 0, block.start()) + 1
    yield number, block[2], block[3] or '', textwrap.dedent(block[4])


def lines_of_text(place: str, text: str) -> list[Line]:
  """The lines of ours among the indented ones of a docstring."""
  blocks = re.findall(r'(?:^(?: {2,}|\t)\S.*\n?)+', text, re.M)
  lines = [line for block in blocks for line in split(textwrap.dedent(block))]
  return [Line(place, line) for line in lines if _OURS.match(line)]


def split(block: str) -> Iterator[str]:
  """The commands of a block, each on one line, without comments and what starts them; `uv run`
  starts Python.
  """
  for line in _whole(re.sub(r'\\\n\s*', ' ', block).splitlines()):
    line = re.sub(r'^\$ |^> |^%|^!', '', line.strip())
    if not line or (line.startswith('#') and not line.startswith('#SBATCH')):
      continue
    for part in re.split(r' (?:&&|;|\|\|?) (?=(?:[^\']*\'[^\']*\')*[^\']*$)', line):
      command = re.sub(
        r'^(?:srun|nohup|time|nice|env) ', '', part.strip().removesuffix('&').strip()
      )
      if command:
        yield re.sub(r'(?:\S*/)?uv run (?=\S+\.py\b)', 'python ', command)


def _whole(lines: Iterable[str]) -> Iterator[str]:
  """Lines, those that end within quotes together with the next."""
  begun = ''
  for line in lines:
    begun = f'{begun} {line.strip()}' if begun else line
    try:
      shlex.split(begun, comments=True)
    except ValueError:
      continue
    yield begun
    begun = ''
  assert not begun, f'a quote is not closed: {begun}'


def reason_to_skip(line: str) -> str | None:
  """Why a line of another program is not run; None for lines of ours, which are checked.

  Raises:
    AssertionError: It is neither.
  """
  if _OURS.match(line):
    return None
  line = re.sub(rf'^{VARIABLES}', '', line)
  line = re.sub(r'^\S*/(?=(?:pip|pytest|uv|python3?|mkdocs)\b)', '', line)
  for start, reason in OTHERS.items():
    if line.startswith(start):
      return reason
  raise AssertionError(f'no program of ours, and not among OTHERS in {__file__}: {line}')


def check(line: str, own_files: Collection[str] = ()) -> None:
  """Reads a line as the program that it calls does, and its config with all overrides.

  Args:
    own_files: Files of the reader, which are not there; see `files_of_page`.

  Raises:
    AssertionError: A verb, an option, a value or the file of a config is wrong.
  """
  match = _OURS.match(line)
  assert match
  words = shlex.split(line[match.end() :], comments=True)
  if '>' in words:
    words = words[: words.index('>')]
  program = match[1].removeprefix('-m ')
  # What the hub has is fetched as soon as it is read.
  words = ['runs/fetched' if word.startswith('hub:') else word for word in words]
  try:
    if program == 'launch.py':
      _check_launch(words, own_files)
      return
    arguments = parsing.parse(_parser(program), words)
    file = getattr(arguments, 'config', None)
    if file and arguments.takes_overrides:
      _check_config(file, arguments.overrides, own_files)
  except SystemExit as end:
    if end.code:
      raise AssertionError('refused') from None


@functools.cache
def _parser(program: str) -> parsing.Program:
  return commands.make_parser() if program == 'cifar_jax' else command_line.make_parser()


def _check_launch(words: list[str], own_files: Collection[str]) -> None:
  flags = {flag.name for flag in launch.flags.FLAGS.get_flags_for_module(launch)}
  config, overrides = '', []
  rest = iter(words)
  for word in rest:
    name, equals, value = word.lstrip('-').partition('=')
    if name.startswith(('config.', 'noconfig.')):
      overrides.append(word if equals or name.startswith('no') else f'{word}={next(rest)}')
      continue
    assert word.startswith('-'), f'{word}: no flag'
    assert name in (*flags, 'help', 'helpfull'), f'{word}: no flag'
    if name in ('help', 'helpfull'):
      return
    value = value if equals else next(rest)
    config = value if name == 'config' else config
  assert config, 'no --config'
  _check_config(config, overrides, own_files)


def _check_config(file: str, overrides: list[str], own_files: Collection[str]) -> None:
  if file not in own_files:
    _load(file, tuple(overrides))


@functools.cache
def _load(file: str, overrides: tuple[str, ...]) -> None:
  configs.validate(configs.load(file, overrides))
