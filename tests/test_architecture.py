"""Which room may use which, read from the imports, lazy ones too."""

import ast
import functools
import pathlib
import re
from collections.abc import Iterator

import pytest

from tests.helpers import REPOSITORY

# A room imports only rooms that stand before it, so that none import each other in a loop.
ROOMS = (
  *('utils', 'startup', 'schema', 'ops', 'layers', 'augment', 'optim', 'models', 'data'),
  *('training', 'analysis', 'devices', 'config', 'weights', 'zoo', 'run_dir', 'trainer', 'predict'),
  *('exchange', 'figures', 'trials', 'search', 'cards', 'report', 'web', 'serve', 'dashboard'),
  *('demos', 'commands', '__main__'),
)
APART = {'report', 'serve', 'demos'}  # none of them imports another
# What a training step is made of touches neither disk nor devices nor terminal, and imports
# nothing that does.
PURE = {'schema', 'ops', 'layers', 'augment', 'optim', 'models', 'training'}
SERVES_PURE = {'utils.array_types', 'utils.errors', 'utils.suggestions', 'utils.optional_deps'}
ASKS_THE_MACHINE = {('ops', 'startup')}  # which kernels work on this processor
IMPURE = {
  *('absl', 'clu', 'csv', 'glob', 'io', 'logging', 'matplotlib', 'orbax', 'pathlib', 'PIL'),
  *('shutil', 'socket', 'subprocess', 'sys', 'tempfile', 'tensorflow', 'threading', 'tqdm'),
}


def imports(path: pathlib.Path) -> Iterator[str]:
  """The dotted names that a file imports, with what it takes from a package."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} imports by a relative path'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def refused(room: str, name: str) -> bool:
  """Whether a room of the package may not import a name."""
  package, _, inside = name.partition('.')
  if package != 'cifar_jax':
    return room in PURE and package in IMPURE and not name.startswith('clu.metrics')
  other = inside.partition('.')[0]
  if other == room:
    return False
  serves = '.'.join(inside.split('.')[:2]) in SERVES_PURE
  pure = other in PURE or serves or (room, other) in ASKS_THE_MACHINE
  apart = {room, other} <= APART or (room in PURE and not pure)
  return apart or ROOMS.index(other) > ROOMS.index(room)


FILES = {path: path.relative_to(REPOSITORY) for path in (REPOSITORY / 'cifar_jax').rglob('*.py')}


def test_rooms_import_only_what_they_may() -> None:
  wrong = []
  for path, name in FILES.items():
    room = pathlib.Path(name.parts[1]).stem
    wrong += [f'{name} -> {other}' for other in imports(path) if refused(room, other)]
  assert wrong == []


@pytest.mark.parametrize(
  ('room', 'name', 'expected'),
  [
    ('training', 'cifar_jax.models.create', False),
    ('training', 'cifar_jax.utils.errors.UserError', False),
    ('training', 'cifar_jax.utils.files.replacing', True),
    ('models', 'pathlib', True),
    ('trainer', 'pathlib', False),
    ('models', 'cifar_jax.training.losses', True),
    ('ops', 'cifar_jax.startup.processor', False),
    ('optim', 'cifar_jax.startup.processor', True),
    ('demos', 'cifar_jax.report.summary', True),
    ('report', 'cifar_jax.figures.charts', False),
  ],
)
def test_the_rules_themselves(room, name, expected) -> None:
  assert refused(room, name) == expected


def test_the_picture_of_the_house_has_all_rooms_in_their_order() -> None:
  """Read from the ground floor, each row from its right."""
  drawn = (REPOSITORY / 'docs' / 'pictures' / 'rooms.svg').read_text('utf-8')
  found = re.findall(r'class="name"[^>]*>(\w+)<', drawn)
  assert (*reversed(found), '__main__') == ROOMS
  pure = re.findall(r'class="room pure".*\n.*class="name"[^>]*>(\w+)<', drawn)
  assert set(pure) == PURE


def test_no_test_module_is_imported() -> None:
  """What two of them need is in tests/helpers/."""
  found = [
    f'{path.relative_to(REPOSITORY)} -> {name}'
    for path in (REPOSITORY / 'tests').rglob('*.py')
    for name in imports(path)
    if name.startswith('tests.') and '.test_' in name
  ]
  assert found == []


def is_there(name: str) -> bool:
  """Whether a dotted name of the package is a module, or is bound at the top of one."""
  path = REPOSITORY.joinpath(*name.split('.'))
  if path.is_dir() or path.with_suffix('.py').is_file():
    return True
  module = path.parent.with_suffix('.py')
  return path.name in bound_in(module if module.is_file() else path.parent / '__init__.py')


@functools.cache
def bound_in(path: pathlib.Path) -> set[str]:
  """The names that a module binds, if there is one."""
  bound: set[str] = set()
  for node in ast.walk(ast.parse(path.read_text('utf-8') if path.is_file() else '')):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      bound.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
      bound |= {alias.asname or alias.name for alias in node.names}
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      bound.add(node.id)
  return bound


def test_what_is_imported_is_there() -> None:
  """Lazy imports too, which nothing notices before they run; mypy takes them for missing stubs."""
  folders = ('cifar_jax', 'benchmarks', 'configs')
  files = [path for folder in folders for path in (REPOSITORY / folder).rglob('*.py')]
  names = {
    (name, path.relative_to(REPOSITORY).as_posix())
    for path in files
    for name in imports(path)
    if name.startswith(('cifar_jax.', 'benchmarks.'))
  }
  assert len(names) > 500
  assert [found for found in sorted(names) if not is_there(found[0])] == []
