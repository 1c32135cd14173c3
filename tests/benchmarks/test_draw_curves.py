"""What stands in the picture of runs beside what articles report."""

import numpy as np
import pytest

from benchmarks.results.draw_curves import draw, first_seeds
from benchmarks.tables import write

pytest.importorskip('matplotlib')


def test_a_panel_has_the_curves_and_the_published_figures(tmp_path) -> None:
  epochs = [
    {'epoch': str(epoch), 'train_accuracy': str(epoch / 10), 'val_accuracy': validation}
    for epoch, validation in ((1, ''), (2, '0.3'), (3, 'nan'), (4, '0.5'))
  ]
  runs = []
  for name, split_note, options in (
    ('lr', 'test used as validation', ''),
    ('half', '', ' --config.model.dtype=bfloat16 --config.batch_size=7'),
  ):
    write(tmp_path / f'{name}.csv', epochs)
    command = f'launch.py --config=configs/lr.py{options}'
    runs.append({'run': name, 'split_note': split_note, 'epochs': '4', 'command': command})
    runs[-1]['test_accuracy'] = '0.45'
  published = [
    {'system': 'lr', 'options': '', 'epochs': epochs, 'accuracy': accuracy}
    for epochs, accuracy in (('3', '40'), ('6', '60'), ('7', '70'), ('5', ''))
  ]
  first, second, empty = draw(runs, published, tmp_path).axes
  lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in first.lines}
  assert lines == {
    'training': [[1, 10], [2, 20], [3, 30], [4, 40]],
    'test': [[2, 30], [4, 50]],
    'published': [[3, 40], [6, 60]],  # not those of more than one and a half times the epochs
  }
  labels = [line.get_label() for line in second.lines]
  assert labels == ['training', 'validation', 'test at the end']  # another system: no figures
  assert np.asarray(second.lines[-1].get_xydata()).tolist() == [[4, 45]]
  assert (first.get_title(), second.get_title()) == ('lr', 'half (bfloat16)')
  assert not empty.get_visible()


def test_seeds_of_a_system_share_a_panel() -> None:
  def row(name: str, seed: int, options: str = '', **values: str) -> dict[str, str]:
    command = f'launch.py --config=configs/lr.py{options} --config.seed={seed}'
    usual = {'epochs': '20', 'devices': '1 cpu device (cpu)', 'processor': 'AMD'}
    return {'run': name, 'seed': str(seed), 'command': command, **usual, **values}

  bfloat16 = ' --config.model.dtype=bfloat16'
  runs = [
    row('b', 2),
    row('a', 0),
    row('half', 1, bfloat16),
    row('c', 1),
    row('short', 3, epochs='9'),
  ]
  gpu = row('gpu', 5, devices='1 gpu device (NVIDIA)')
  assert [run['run'] for run in first_seeds([*runs, gpu])] == ['a', 'half', 'short', 'gpu']
