"""Finished runs become rows of a table, each once."""

import json
import pathlib
import threading

import pytest

from benchmarks import tables
from benchmarks.results.collect import COLUMNS, collect, markdown
from benchmarks.tables import RESULTS, read
from cifar_jax.utils import locks
from cifar_jax.utils.errors import UserError


def finished(run: pathlib.Path, *options: str, epochs: int = 5, **values: object) -> pathlib.Path:
  """The folder of a run of configs/head.py that trained so many epochs."""
  run.mkdir(exist_ok=True)
  command = f'launch.py --config=configs/head.py --workdir={run}'
  texts = {'split_note': '', 'devices': '1 cpu device (cpu)', 'jax': '0.10.2', 'processor': 'AMD'}
  numbers = {'epochs': 182, 'last_epoch': epochs, 'max_steps': 0, 'steps': 9, 'seconds': 1.5}
  accuracies = {'val_accuracy': 0.75, 'test_accuracy': 0.123456789, 'test_loss': 2.0}
  unknown = {'images_per_second': None}
  summary = {**texts, **numbers, **accuracies, **unknown, **values}
  summary['command'] = ' '.join([command, *options])
  (run / 'summary.json').write_text(json.dumps(summary))
  rows = [f'{100 * epoch},{epoch}' for epoch in range(1, epochs + 1)]
  (run / 'metrics.csv').write_text('\n'.join(['step,epoch', *rows]))
  return run


@pytest.mark.parametrize('table', list(COLUMNS))
def test_columns_are_those_of_the_kept_results(table) -> None:
  assert COLUMNS[table] == tuple(read(RESULTS / f'{table}.csv')[0])


def test_epochs_of_a_run_are_those_it_trained(tmp_path) -> None:
  """A run that max_steps ended was listed with the epochs of its config."""
  results = tmp_path / 'results'
  run = finished(tmp_path / 'resnet20', epochs=2)
  (row,) = collect([run], 'runs', results)
  assert [row] == read(results / 'runs.csv')
  assert (row['run'], row['epochs'], row['command']) == (
    'resnet20',
    '2',
    'launch.py --config=configs/head.py',
  )
  assert (row['test_accuracy'], row['images_per_second']) == ('0.123457', '')
  curve = results / 'curves' / 'resnet20.csv'
  assert curve.read_text() == (run / 'metrics.csv').read_text()


def test_a_run_that_is_there_is_replaced_and_others_stay(tmp_path) -> None:
  results = tmp_path / 'results'
  collect([finished(tmp_path / 'b', seed=1), finished(tmp_path / 'a')], 'runs', results)
  collect([finished(tmp_path / 'b', seed=2)], 'runs', results)
  assert [(row['run'], row['seed']) for row in read(results / 'runs.csv')] == [
    ('a', ''),
    ('b', '2'),
  ]


def test_an_unfinished_run_is_named_and_nothing_is_written(tmp_path) -> None:
  (tmp_path / 'begun').mkdir()
  with pytest.raises(UserError, match=r'begun has no summary\.json'):
    collect([finished(tmp_path / 'a'), tmp_path / 'begun'], 'runs', tmp_path / 'results')
  assert not (tmp_path / 'results').exists()


def test_a_row_names_the_config_and_no_folder(tmp_path) -> None:
  options = ['--config.data.dir=/x/photos', '--config.epochs=9', '--config.init_from=/y']
  (row,) = collect([finished(tmp_path / 'run', *options, seed=2)], 'photographs', tmp_path)
  assert (row['config'], row['options']) == ('head', '--config.epochs=9')
  assert (row['val_accuracy'], row['epochs'], row['input_bound_fraction']) == ('0.75', '182', '')
  assert not any(place in value for value in row.values() for place in ('/x', '/y', str(tmp_path)))


def test_seeds_are_one_system_and_options_make_another(tmp_path) -> None:
  rows = collect(
    [
      finished(tmp_path / '0', '--config.seed=0', seed=0, val_accuracy=0.97),
      finished(tmp_path / '1', '--config.seed=1', seed=1, val_accuracy=0.99, epochs=8),
      finished(tmp_path / '2', '--config.epochs=9', seed=0, val_accuracy=0.5),
    ],
    'photographs',
    tmp_path,
  )
  assert markdown(rows).splitlines()[2:] == [
    '| `head` | 2 | 98.00 ± 1.41 % | 5 to 8 |',  # 2 / sqrt(2), by hand
    '| `head` `--config.epochs=9` | 1 | 50.00 % | 5 |',
  ]


def test_a_table_that_cannot_be_written_stays_as_it_was(tmp_path) -> None:
  path = tmp_path / 'table.csv'
  tables.write(path, [{'a': 1}, {'a': 2}])
  before = path.read_bytes()
  with pytest.raises(ValueError, match='not in fieldnames'):
    tables.write(path, [{'a': 3}, {'b': 4}])
  assert path.read_bytes() == before
  assert [one.name for one in tmp_path.iterdir()] == ['table.csv']


def test_a_table_is_changed_by_one_process_at_a_time(tmp_path) -> None:
  """A row that another one adds meanwhile is not lost."""
  folder = finished(tmp_path / 'mine')
  results = tmp_path / 'results'
  results.mkdir()
  with locks.locked(results / '.lock', lambda: None):
    thread = threading.Thread(target=collect, args=([folder], 'runs', results))
    thread.start()
    other = dict.fromkeys(COLUMNS['runs'], 'x')
    tables.write(results / 'runs.csv', [other])
    thread.join(0.3)
    assert thread.is_alive()
  thread.join(60)
  assert [row['run'] for row in tables.read(results / 'runs.csv')] == ['mine', 'x']


def test_a_run_without_an_epoch_is_refused(tmp_path) -> None:
  folder = finished(tmp_path / 'mine')
  (folder / 'metrics.csv').write_text('step,epoch\n')
  with pytest.raises(UserError, match=r'metrics\.csv has no epoch'):
    collect([folder], 'runs', tmp_path)
  assert not (tmp_path / 'runs.csv').exists()
