"""Nothing in the package asks for what only some systems have."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

from cifar_jax.startup import host_memory, process
from cifar_jax.utils import files
from tests.helpers import REPOSITORY, without_posix
from tests.helpers.python_process import run_python
from tests.helpers.tiny import LINEAR

# module or attribute -> the one file that uses it, behind a guard
GUARDED = {
  'resource': 'cifar_jax/startup/host_memory.py',
  'os.sched_getaffinity': 'cifar_jax/startup/processor.py',
  'os.sched_setaffinity': 'cifar_jax/startup/processor.py',
  'os.killpg': 'cifar_jax/utils/child_process.py',
  'signal.SIGKILL': 'cifar_jax/utils/child_process.py',
}
FILES = [
  *(REPOSITORY / 'cifar_jax').rglob('*.py'),
  *(REPOSITORY / 'benchmarks').rglob('*.py'),
  *(REPOSITORY / 'configs').glob('*.py'),
  REPOSITORY / 'launch.py',
]
POSITIONS = {'read_text': 0, 'write_text': 1}  # of the encoding among the arguments


def posix_only(tree: ast.AST) -> Iterator[str]:
  calls = {('os', name) for name in without_posix.CALLS}
  signals = {('signal', name) for name in without_posix.SIGNALS}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names if alias.name in without_posix.MODULES)
    elif isinstance(node, ast.ImportFrom):
      names = {(node.module, alias.name) for alias in node.names}
      yield from ('.'.join(pair) for pair in names & (calls | signals))
      yield from {node.module or ''} & without_posix.MODULES
    elif isinstance(node, ast.Attribute):
      pair = (ast.unparse(node.value), node.attr)
      yield from ('.'.join(name) for name in {pair} & (calls | signals))


def test_what_only_posix_has_is_guarded_in_one_place() -> None:
  found = {
    (name, path.relative_to(REPOSITORY).as_posix())
    for path in FILES
    for name in posix_only(ast.parse(path.read_text('utf-8')))
  }
  assert found == set(GUARDED.items())


def test_the_rule_itself() -> None:
  source = 'import fcntl\nimport os\nfrom signal import SIGHUP\nos.fork()\nos.replace(a, b)\n'
  assert set(posix_only(ast.parse(source))) == {'fcntl', 'signal.SIGHUP', 'os.fork'}


def without_encoding(tree: ast.AST) -> Iterator[int]:
  """The lines of calls that read or write text in whatever encoding the system prefers."""
  for node in ast.walk(tree):
    if not isinstance(node, ast.Call) or any(word.arg == 'encoding' for word in node.keywords):
      continue
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, 'id', '')
    if name in POSITIONS and len(node.args) <= POSITIONS[name]:
      yield node.lineno
    if name == 'open' and ast.unparse(function).partition('.')[0] not in OTHER_OPENS:
      modes = [*node.args, *(word.value for word in node.keywords if word.arg == 'mode')]
      if not any(isinstance(mode, ast.Constant) and 'b' in str(mode.value)[:3] for mode in modes):
        yield node.lineno


OTHER_OPENS = {
  'os',
  'archive',
  'gzip',
  'tarfile',
  'PIL',
  'pillow',
  'pillow()',
  'Image',
  'webbrowser',
}


def test_texts_have_an_encoding() -> None:
  wrong = [
    f'{path.relative_to(REPOSITORY)}:{line}'
    for path in FILES
    for line in without_encoding(ast.parse(path.read_text('utf-8')))
  ]
  assert wrong == []


@pytest.mark.parametrize(
  ('call', 'lines'),
  [
    ('path.read_text()', [1]),
    ("path.write_text('x')", [1]),
    ("path.read_text('utf-8')", []),
    ("open(p, 'rb')", []),
    ("path.open('w')", [1]),
    ("path.open('w', encoding='utf-8')", []),
  ],
)
def test_the_rule_of_encodings_itself(call: str, lines: list[int]) -> None:
  assert list(without_encoding(ast.parse(call))) == lines


@pytest.mark.thorough
def test_trains_without_posix_and_without_tensorflow(tiny_data, tmp_path) -> None:
  """Checkpoints, events and the lock included; and what is there is resumed."""
  for epochs in (1, 2):
    done = run_python(
      *('tests/helpers/without_posix.py', '--config=tests/helpers/tiny.py'),
      *(f'--config.data.dir={tiny_data}', '--config.tensorboard=True'),
      *(f'--config.epochs={epochs}', f'--workdir={tmp_path / "run"}'),
      *(f'--config.{option}={value!r}' for option, value in LINEAR.items()),
    )
    assert done.returncode == 0, done.stderr
    assert f'Epoch {epochs}/{epochs} - ' in done.stdout
  assert 'Epoch 1/2' not in done.stdout
  assert list((tmp_path / 'run' / 'tensorboard' / 'train').glob('events.out.tfevents.*'))


def test_memory_without_the_module_resource(monkeypatch: pytest.MonkeyPatch) -> None:
  import psutil

  before = host_memory.peak()
  assert 0.5 < before / psutil.Process().memory_info().rss < 20
  monkeypatch.setattr(host_memory, 'resource', None)
  info = type('Info', (), {'memory_info': lambda self: type('', (), {'peak_wset': 7, 'rss': 3})})
  monkeypatch.setattr(psutil, 'Process', info)
  assert host_memory.peak() == 7


@pytest.mark.parametrize('refusals', [0, 3, 10**6])
def test_a_file_that_somebody_reads_is_replaced_when_it_is_free(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
  """As on Windows, where it cannot be before."""
  path, left = tmp_path / 'summary.json', [refusals]
  path.write_text('old', 'utf-8')
  replace = pathlib.Path.replace

  def refusing(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    if left[0]:
      left[0] -= 1
      raise PermissionError(13, 'Access is denied')
    return replace(self, target)

  monkeypatch.setattr(pathlib.Path, 'replace', refusing)
  monkeypatch.setattr(files, '_IS_WINDOWS', True)
  monkeypatch.setattr(files.time, 'sleep', lambda _: None)
  if refusals > 1000:
    with pytest.raises(files.UserError, match=r'^cannot write to .*Access is denied'):
      files.write_json(path, {})
    assert path.read_text('utf-8') == 'old'
  else:
    files.write_json(path, {'a': 1})
    assert path.read_bytes() == b'{\n  "a": 1\n}\n'
  assert [entry.name for entry in tmp_path.iterdir()] == ['summary.json']


def test_a_terminal_that_takes_letters_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
  """That of Windows is no file of bytes."""
  import io

  class Terminal(io.RawIOBase):
    def writable(self) -> bool:
      return True

    def write(self, data: object) -> int:
      return len(bytes(data))  # type: ignore[call-overload]

  stream = io.TextIOWrapper(io.BufferedWriter(Terminal()), encoding='utf-8')  # type: ignore[type-var]
  assert process._prepared(stream, 1, patient=True) is stream
  assert stream.errors == 'replace'
