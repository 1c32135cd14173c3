"""The table is what the CSV files say, and joins only runs that are the published system."""

import shutil

import pytest

from benchmarks import tables
from benchmarks.results import reproduction
from benchmarks.tables import RESULTS, read, write
from tests.helpers import REPOSITORY

PUBLISHED = {'system': 'lr', 'options': '', 'article': 'D0', 'accuracy': '37', 'claim': '37 %'} | {
  'measured_on': 'test',
  'time': '1 h',
  'hardware': 'GPU',
}


def published(*epochs: int) -> list[dict[str, str]]:
  return [{**PUBLISHED, 'epochs': str(count)} for count in epochs]


def run(epochs: int, seed: int, accuracy: float, options: str = '') -> dict[str, str]:
  command = f'launch.py --config=configs/lr.py --config.seed={seed} {options}'
  return {
    'run': f'lr{seed}',
    'command': command,
    'epochs': str(epochs),
    'seed': str(seed),
    'test_accuracy': str(accuracy),
    'seconds': '10',
    'processor': 'AMD EPYC, 2 cores',
    'devices': '1 cpu device (cpu)',
  }


def test_page_and_csv_are_generated_from_the_tables(tmp_path):
  results = RESULTS
  published = read(results / 'published.csv')
  lengths = [int(row['epochs']) for row in published]
  runs = reproduction.cut(read(results / 'runs.csv'), lengths, results / 'curves')
  rows = reproduction.join(published, runs)
  assert read(results / 'reproduction.csv') == rows
  written = tmp_path / 'page.md'
  shutil.copy(reproduction.PAGE, written)
  tables.replace_in(written, 'reproduction', reproduction.markdown(rows))
  assert written.read_text() == reproduction.PAGE.read_text()


def test_every_published_system_has_a_config():
  for row in read(RESULTS / 'published.csv'):
    assert (REPOSITORY / 'configs' / f'{row["system"]}.py').is_file()


@pytest.mark.parametrize(
  ('command', 'expected'),
  [
    ('launch.py --config=configs/lr.py', ('lr', '')),
    ('launch.py --config=configs/lr.py --config.epochs=3 --config.seed=1', ('lr', '')),
    ('launch.py --config=/x/y/lr.py --config.tensorboard=false', ('lr', '')),
    ('launch.py --config=lr', ('lr', '')),
    (
      'launch.py --config=configs/lr.py --config.optimizer.momentum=0.9 --config.batch_size=1',
      ('lr', '--config.batch_size=1 --config.optimizer.momentum=0.9'),
    ),
  ],
)
def test_system_of_a_command(command, expected):
  assert reproduction.system_of(command) == expected


def test_seeds_become_mean_and_deviation():
  (row,) = reproduction.join(published(20), [run(20, 0, 0.38), run(20, 1, 0.40)])
  assert (row['our_accuracy'], row['our_std'], row['n']) == ('39.00', '1.41', '2')
  assert '| 39.00 ± 1.41 % | 20 | 2 | 10 s |' in reproduction.markdown([row])


def test_another_option_is_another_system():
  (row,) = reproduction.join(published(20), [run(20, 0, 0.5, '--config.batch_size=1')])
  assert row['n'] == ''
  assert '| not run | 20 |  |  |' in reproduction.markdown([row])


def test_shorter_and_longer_runs():
  """A run stands beside the first figure that it does not exceed, once, and never beside less."""
  rows = reproduction.join(published(10, 50, 100), [run(20, 0, 0.38), run(200, 0, 0.9)])
  assert [row['our_epochs'] for row in rows] == ['', '20', '']
  assert '| 38.00 % | 20 of 50 | 1 |' in reproduction.markdown(rows)


def test_each_precision_and_hardware_has_a_row_of_its_own():
  half = run(20, 0, 0.5, '--config.model.dtype=bfloat16')
  on_gpu = {**run(30, 0, 0.4), 'devices': '1 gpu device (NVIDIA H100 80GB HBM3)'}
  rows = reproduction.join(published(20, 30), [half, run(20, 0, 0.38), on_gpu])
  assert [(row['epochs'], row['our_epochs'], row['our_accuracy']) for row in rows] == [
    ('20', '20', '50.00'),
    ('20', '20', '38.00'),
    ('30', '30', '40.00'),
  ]
  table = reproduction.markdown(rows)
  assert '| 50.00 % in bfloat16 | 20 | 1 | 10 s | AMD EPYC, 2 cores |' in table
  assert '| 38.00 % | 20 | 1 | 10 s | AMD EPYC, 2 cores |' in table
  assert '| 40.00 % | 30 | 1 | 10 s | NVIDIA H100 80GB HBM3 |' in table


@pytest.mark.parametrize(
  ('devices', 'expected'),
  [
    ('1 cpu device (cpu)', 'CPU, 2 cores'),
    ('8 cpu devices in 2 processes (cpu)', 'CPU, 2 cores'),
    ('1 gpu device (NVIDIA H200)', 'NVIDIA H200'),
    ('4 tpu devices (TPU v4)', '4 x TPU v4'),
    ('1 gpu device (NVIDIA H200), then 1 cpu device (cpu)', 'NVIDIA H200, then CPU, 2 cores'),
  ],
)
def test_hardware_is_that_of_all_sittings(devices, expected):
  row = {'run': 'lr', 'processor': 'CPU, 2 cores', 'devices': devices}
  assert reproduction.hardware_of(row) == expected


def test_longer_run_counts_at_the_epoch_of_a_figure(tmp_path):
  curve = 'epoch,val_accuracy,epoch_seconds\n1,0.1,5\n2,0.2,6\n3,0.3,7\n'
  (tmp_path / 'lr0.csv').write_text(curve)
  longer = {**run(3, 0, 0.3), 'split_note': 'test used as validation'}
  rows = reproduction.join(published(2, 3), reproduction.cut([longer], [2, 3], tmp_path))
  assert [row['our_accuracy'] for row in rows] == ['20.00', '30.00']
  assert rows[0]['our_seconds'] == '11'
  held_out = {**longer, 'split_note': ''}
  assert reproduction.cut([held_out], [2, 3], tmp_path) == [held_out]
  scheduled = {**longer, 'command': f'{longer["command"]} --config.schedule.name=cosine'}
  assert reproduction.cut([scheduled], [2, 3], tmp_path) == [scheduled]


def test_both_are_written(tmp_path):
  for name, rows in (('published', published(20)), ('runs', [run(20, 0, 0.38)])):
    write(tmp_path / f'{name}.csv', rows)
  page = tmp_path / 'page.md'
  page.write_text('above\n<!-- reproduction: begin -->\nold\n<!-- reproduction: end -->\nbelow\n')
  reproduction.update(tmp_path, page)
  text = page.read_text()
  assert text.startswith('above\n')
  assert text.endswith('\nbelow\n')
  assert '38.00 %' in text
  assert 'old' not in text
  assert read(tmp_path / 'reproduction.csv')[0]['our_accuracy'] == '38.00'


def test_a_page_without_a_place_for_the_table_stays(tmp_path):
  page = tmp_path / 'page.md'
  page.write_text('<!-- reproduction: begin -->\nold\n')
  with pytest.raises(ValueError, match="no place for the table 'reproduction'"):
    tables.replace_in(page, 'reproduction', 'new')
  assert page.read_text() == '<!-- reproduction: begin -->\nold\n'
