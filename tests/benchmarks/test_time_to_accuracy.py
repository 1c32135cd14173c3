"""Rows and sums of seeds, with a launch.py that only leaves a summary."""

import json
import pathlib
import types

import pytest

from benchmarks import command_line
from benchmarks.speed import time_to_accuracy
from benchmarks.tables import RESULTS, read

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
ACCURACIES = {'3': 0.30, '4': 0.40}  # by seed


@pytest.fixture
def started(monkeypatch) -> list:
  """Command lines and environments of the processes that were started."""
  found = []

  def run(command: list[str], env: dict[str, str]) -> types.SimpleNamespace:
    found.append((command, env))
    options = dict(word.split('=', 1) for word in command if '=' in word)
    folder = pathlib.Path(options['--workdir'])
    folder.mkdir()
    summary = dict.fromkeys(time_to_accuracy.COLUMNS, 1) | {'steps': 5, 'seconds': 1e6}
    summary['test_accuracy'] = ACCURACIES.get(options['--config.seed'])
    (folder / 'summary.json').write_text(json.dumps(summary))
    return types.SimpleNamespace(returncode=0 if summary['test_accuracy'] else 2)

  monkeypatch.setattr(time_to_accuracy.subprocess, 'run', run)
  return found


def measure(out: pathlib.Path, *words: str) -> None:
  command_line.main(['time_to_accuracy', '--config=configs/lr.py', f'--out={out}', *words])


def test_rows_are_those_of_the_kept_results(started, tmp_path, capsys) -> None:
  out = tmp_path / 'out.csv'
  measure(out, '--first_seed=3', '--runs=2', '--target=0.35', '--cold', '--config.batch_size=100')
  rows = read(out)
  assert list(rows[0]) == list(read(RESULTS / 'time_to_accuracy.csv')[0])
  assert [(row['seed'], row['test_accuracy'], row['cold']) for row in rows] == [
    ('3', '0.3', 'True'),
    ('4', '0.4', 'True'),
  ]
  assert rows[0]['overrides'] == '--config.batch_size=100'
  assert float(rows[0]['seconds']) < 100  # of the process, not those of its summary
  # Five steps of 100 images, six operations for each of 3,072 x 10 weights.
  assert float(rows[0]['operations']) == 5 * 100 * 6 * 30_720
  said = capsys.readouterr().out
  assert 'mean of 2: accuracy 35.00 ± 7.07 %' in said  # 10 / sqrt(2), by hand
  assert '35 %: reached by the mean, 1 of 2 runs' in said
  (first, cache), (_, other) = started
  assert pathlib.Path(first[1]).name == 'launch.py'
  assert '--config.batch_size=100' in first
  assert cache['CIFAR_JAX_CACHE'] != other['CIFAR_JAX_CACHE']


def test_a_run_that_fails_ends_it_and_what_was_measured_stays(started, tmp_path) -> None:
  with pytest.raises(SystemExit, match='ended with status 2'):
    measure(tmp_path / 'out.csv', '--first_seed=4', '--runs=3')
  assert [row['seed'] for row in read(tmp_path / 'out.csv')] == ['4']
  assert len(started) == 2
