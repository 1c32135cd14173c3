import io
import math
import sys

import pytest

from cifar_jax.run_dir.progress import Progress, duration

ROW = {
  'epoch_seconds': 12.4,
  'train_loss': 1.23456,
  'train_accuracy': 0.56789,
  'val_loss': 1.5,
  'val_accuracy': 0.25,
  'images_per_second': 4321.4,
}


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


def two_epochs(progress: Progress) -> None:
  """As the loop calls it: two epochs of three steps, the first begun in the middle."""
  progress.note('header')
  for epoch in (1, 2):
    done = 1 if epoch == 1 else 0
    progress.start_epoch(epoch, 2, 3, done)
    for _ in range(3 - done):
      progress.advance(1)
      progress.show(2.34567, 0.1234, 7500.0)
    progress.end_epoch(epoch, 2, ROW, 95.0)
  progress.close()


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [
    (0, '0 s'),
    (0.4, '0 s'),
    (47, '47 s'),
    (59.4, '59 s'),
    (59.6, '1 min 00 s'),
    (60, '1 min 00 s'),
    (65, '1 min 05 s'),
    (200, '3 min 20 s'),
    (3599.4, '59 min 59 s'),
    (3599.6, '1 h 00 min'),
    (3600, '1 h 00 min'),
    (7500, '2 h 05 min'),
    (7559.4, '2 h 05 min'),
    (100 * 3600, '100 h 00 min'),
  ],
)
def test_duration(seconds, text) -> None:
  assert duration(seconds) == text


def test_no_speed_where_none_was_measured(capsys) -> None:
  Progress('lines').end_epoch(1, 1, {**ROW, 'images_per_second': math.nan}, 0.0)
  line = capsys.readouterr().out
  assert line.startswith('Epoch 1/1 - 12s - loss: 1.2346')
  assert 'images/s' not in line


def test_lines_are_one_an_epoch_with_the_numbers(capsys) -> None:
  two_epochs(Progress('lines'))
  out, err = capsys.readouterr()
  numbers = '12s - loss: 1.2346 - acc: 0.5679 - val_loss: 1.5000 - val_acc: 0.2500 - 4321 images/s'
  assert out.splitlines() == [
    'header',
    f'Epoch 1/2 - {numbers} - 1 min 35 s left',
    f'Epoch 2/2 - {numbers}',
  ]
  assert err == ''


def test_remark_stands_beside_the_accuracy(capsys) -> None:
  progress = Progress('lines')
  progress.split_note = 'test used as validation, synthetic'
  two_epochs(progress)
  lines = capsys.readouterr().out.splitlines()[1:]
  assert len(lines) == 2
  assert all('val_acc: 0.2500 [test used as validation, synthetic] -' in line for line in lines)


def test_silent_prints_nothing(capsys) -> None:
  two_epochs(Progress('silent'))
  assert capsys.readouterr() == ('', '')


def test_bar_draws_on_stderr_alone_and_shows_the_time_left(monkeypatch, capsys) -> None:
  """The lines on stdout are those of 'lines', so that a log of stdout is the same."""
  two_epochs(Progress('lines'))
  lines = capsys.readouterr().out
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stderr', terminal)
  progress = Progress('bar')
  progress.note('header')
  for epoch in (1, 2):
    progress.start_epoch(epoch, 2, 3, 3 - epoch)
    progress.show(2.34567, 0.1234, 7500.0)
    progress.advance(1)
    assert progress._bar is not None
    progress._bar.refresh()
    progress.end_epoch(epoch, 2, ROW, 95.0)
  progress.close()
  assert capsys.readouterr().out == lines
  drawn = terminal.getvalue()
  assert 'Epoch 1/2' in drawn
  assert 'Epoch 2/2' in drawn
  assert '3/3' in drawn  # two steps were made before, one now
  assert '2/3' in drawn
  assert 'loss 2.3457, acc 0.1234, 2 h 05 min left in all' in drawn
  assert 'val_acc' not in drawn


def test_bar_without_a_pace_yet_shows_no_time_left(monkeypatch) -> None:
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stderr', terminal)
  progress = Progress('bar')
  progress.start_epoch(1, 1, 3, 0)
  progress.show(2.0, 0.5, None)
  assert progress._bar is not None
  progress._bar.refresh()
  progress.close()
  assert 'loss 2.0000, acc 0.5000' in terminal.getvalue()
  assert 'left in all' not in terminal.getvalue()


@pytest.mark.parametrize(('stream', 'draws'), [(Terminal(), True), (io.StringIO(), False)])
def test_auto_draws_on_a_terminal_only(monkeypatch, capsys, stream, draws) -> None:
  monkeypatch.setattr(sys, 'stderr', stream)
  two_epochs(Progress())
  assert ('Epoch 1/2:' in stream.getvalue()) == draws
  assert capsys.readouterr().out.count('Epoch') == 2


def test_closing_twice_or_with_no_bar_is_no_error(capsys) -> None:
  progress = Progress('bar')
  progress.close()
  progress.start_epoch(1, 1, 1, 0)
  progress.close()
  progress.close()
  assert capsys.readouterr().out == ''
