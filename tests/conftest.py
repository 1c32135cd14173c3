"""Shared by all tests: eight fake CPU devices, strict array shapes, programs that compile fast and
serve all processes, tiers with their times, and a config that trains in a second.
"""

import collections
import contextlib
import gc
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.helpers import array_checks, tiny

array_checks.install()

# Folders and files that train, compile networks or start processes. All other tests, new ones too,
# are fast; one that then keeps the processor busy for longer is named at the end.
NOT_FAST = (
  *(
    'analysis/',
    'augment/test_pipeline',
    'benchmarks/',
    'commands/test_doctor',
    'demos/',
    'devices/',
    'figures/',
    'layers/',
    'models/',
    'ops/',
  ),
  *('predict/', 'reference/', 'report/', 'run_dir/', 'serve/', 'startup/', 'trainer/', 'training/'),
  'web/',
  *('test_effects', 'test_launch', 'test_notebook', 'test_old_runs', 'test_readiness'),
)
FAST_SECONDS = 3.0
LARGEST_PROCESS = 2 << 30  # bytes
GROWTH = 1 << 29  # bytes
COMPILE_FAST = '--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'


# Programs compiled by one test, or one of its processes, serve the others; none outlives the
# session. The processes that share the tests among them inherit the folder.
if 'PYTEST_XDIST_WORKER' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='cifar_jax_tests_')
  os.environ['CIFAR_JAX_CACHE'] = _CACHE.name
jax.config.update('jax_compilation_cache_dir', os.path.join(os.environ['CIFAR_JAX_CACHE'], 'xla'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)

# Programs that call oneDNN cannot be kept; tests/ops/test_onednn.py and test_resume.py turn it on,
# and CIFAR_JAX_ONEDNN=on in the environment does for all.
os.environ.setdefault('CIFAR_JAX_ONEDNN', 'off')

# Tracing makes many objects and few cycles: the collector's searches took a twentieth of the time.
gc.set_threshold(50_000, 20, 20)

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_configure(config: pytest.Config) -> None:
  """Four fifths of the suite's time were XLA's and LLVM's optimizations; the slow tests and the
  claims have them, and CIFAR_JAX_TESTS=optimized in the environment gives them to all.
  """
  optimized = os.environ.get('CIFAR_JAX_TESTS') == 'optimized'
  if optimized or config.option.markexpr in ('slow', 'claims'):
    return
  os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'  # for the processes that tests start
  jax.config.update('jax_disable_most_optimizations', True)
  if 'PYTEST_XDIST_WORKER' not in os.environ and 'XLA_FLAGS' not in os.environ:
    # A version of XLA that does not know a flag ends the process.
    start = [sys.executable, '-c', 'from jaxlib import xla_client; xla_client.make_cpu_client()']
    environment = {**os.environ, 'XLA_FLAGS': COMPILE_FAST}
    if not subprocess.run(start, env=environment, capture_output=True).returncode:
      os.environ['XLA_FLAGS'] = COMPILE_FAST


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
  """No processes beside this one for the claims: each of them trains on all cores."""
  return 0 if config.option.markexpr == 'claims' else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Marks the fast tests, before pytest chooses by marks."""
  for item in items:
    name = item.path.relative_to(pathlib.Path(__file__).parent).as_posix()
    if tier_of(item.keywords) == 'default' and not name.startswith(NOT_FAST):
      item.add_marker('fast')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[object]:
  """Notes how long a test keeps the processor busy, which the machine's load changes less."""
  start = time.process_time()
  try:
    return (yield)
  finally:
    item.user_properties.append(('processor_seconds', time.process_time() - start))


def tier_of(keywords: collections.abc.Mapping) -> str:
  """The tier of a test: 'default' runs with `pytest`, and so does 'fast'. Tests marked thorough are
  further parametrizations of those; .ci/run runs them too.
  """
  return next(
    (tier for tier in ('slow', 'claims', 'thorough', 'fast') if tier in keywords), 'default'
  )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
  """Seconds of each tier and of the slowest files, all processes together."""
  tiers, files = collections.Counter(), collections.Counter()
  tests, tardy = collections.defaultdict(set), []
  for reports in terminalreporter.stats.values():
    for report in reports:
      if isinstance(report, pytest.TestReport):
        tier = tier_of(report.keywords)
        tests[tier].add(report.nodeid)
        tiers[tier] += report.duration
        files[report.nodeid.partition('::')[0]] += report.duration
        busy = dict(report.user_properties).get('processor_seconds', 0.0)
        if tier == 'fast' and report.when == 'call' and busy > FAST_SECONDS:
          tardy.append(f'{busy:.0f} s for {report.nodeid}')
  write = terminalreporter.write_line
  terminalreporter.section('time')
  for tier, seconds in tiers.items():
    write(f'{tier}: {len(tests[tier])} tests in {seconds:.0f} s')
  write('slowest files: ' + ', '.join(f'{name} {s:.0f} s' for name, s in files.most_common(8)))
  for line in tardy:
    write(f'not fast, though neither in NOT_FAST of tests/conftest.py nor marked slow: {line}')


def _resident() -> int:
  """Bytes that this process has in memory; 0 where nobody says, as outside of Linux."""
  with contextlib.suppress(OSError):
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')
  return 0


@pytest.fixture(scope='session')
def _allowed() -> list[int]:
  """Bytes that a process may have at the end of a file."""
  return [LARGEST_PROCESS]


@pytest.fixture(autouse=True)
def _nothing_compiles_beside_the_next_test() -> Iterator[None]:
  """A run that ended early may have left a program half compiled."""
  yield
  for thread in threading.enumerate():
    if thread.name == 'compiles ahead':
      thread.join()


@pytest.fixture(scope='module', autouse=True)
def _forget_programs(_allowed: list[int]) -> Iterator[None]:
  """A process that has grown forgets the programs of a file at its end; and not again at the end of
  each file after that, since some of the memory does not come back and searching it takes time.
  """
  yield
  if _resident() > _allowed[0]:
    jax.clear_caches()
    gc.collect()
    _allowed[0] = max(LARGEST_PROCESS, _resident() + GROWTH)


@pytest.fixture(scope='module')
def shared_trainers() -> Iterator[None]:
  """Within a module that uses it, trainings of an equal config compile their programs once."""
  from tests.helpers.shared_trainers import trainers_shared

  with trainers_shared():
    yield


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """An .npz of 200 training and 90 test images 8x8x3; the class shifts the brightness of one
  corner.
  """
  generator = np.random.default_rng(0)

  def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = generator.integers(0, 4, count)
    images = generator.integers(0, 128, (count, 8, 8, 3))
    for corner, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
      images[labels == corner, row : row + 4, column : column + 4] += 96
    return images.astype(np.uint8), labels.astype(np.uint8)

  path = tmp_path_factory.mktemp('data') / 'tiny.npz'
  (x_train, y_train), (x_test, y_test) = images_and_labels(200), images_and_labels(90)
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return path


@pytest.fixture
def tiny_config(tiny_data: pathlib.Path) -> ConfigDict:
  """A small network with BatchNorm and dropout: six steps per epoch; locked."""
  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  return config.lock()


@pytest.fixture(scope='session')
def tiny_run(tiny_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The folder of a finished run of two epochs; treat it as read-only but for report/."""
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.trainer.loop import train

  run = tmp_path_factory.mktemp('runs') / 'tiny'
  config = tiny.get_config()
  config.epochs = 2
  config.batch_size = 45  # of 180 images: no short batch, so a single program is compiled
  config.model.block = ('conv3 same', 'max_pool')
  config.model.head = ('flatten',)
  config.tags = ('small', 'first')
  config.data.dir = str(tiny_data)
  train(config.lock(), run, Progress('silent'))
  return run
