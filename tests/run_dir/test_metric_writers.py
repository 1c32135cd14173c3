"""metrics.csv, read back by other programs' readers."""

import csv
import pathlib

import pytest

from cifar_jax.run_dir.history import read_rows
from cifar_jax.run_dir.metric_writers import RunWriter
from cifar_jax.utils.errors import UserError
from tests.helpers.metric_rows import COLUMNS, row


def write(run: pathlib.Path, *epochs: int, before: int = 0) -> str:
  """One session that goes on after some epochs and writes others; returns what it said."""
  rows = [row(epoch) for epoch in range(1, before + 1)]
  with RunWriter(run, rows, rows[-1]['step'] if rows else None, tensorboard=False) as writer:
    for epoch in epochs:
      rows.append(row(epoch))
      writer.write_epoch(rows)
  return writer.note


def test_csv_has_the_documented_columns_and_every_digit(tmp_path) -> None:
  write(tmp_path, 1, 2, 3)
  with (tmp_path / 'metrics.csv').open(newline='') as file:
    lines = list(csv.reader(file))
  assert lines[0] == COLUMNS
  assert [line[:2] for line in lines[1:]] == [['6', '1'], ['12', '2'], ['18', '3']]
  assert [dict(zip(COLUMNS, map(float, line), strict=True)) for line in lines[1:]] == [
    row(1),
    row(2),
    row(3),
  ]
  assert read_rows(tmp_path) == [row(1), row(2), row(3)]


def test_values_that_are_not_finite_round_trip(tmp_path) -> None:
  """A validation loss may overflow while training goes on."""
  with RunWriter(tmp_path, [], None, tensorboard=False) as writer:
    writer.write_epoch([{**row(1), 'val_loss': float('inf')}])
  assert read_rows(tmp_path) == [{**row(1), 'val_loss': float('inf')}]


def test_no_file_is_no_rows(tmp_path) -> None:
  assert read_rows(tmp_path) == []


def test_every_row_is_on_disk_at_once(tmp_path) -> None:
  with RunWriter(tmp_path, [], None, tensorboard=False) as writer:
    assert (tmp_path / 'metrics.csv').read_text().strip() == ','.join(COLUMNS)
    writer.write_epoch([row(1)])
    assert read_rows(tmp_path) == [row(1)]


def test_rows_after_the_resumed_step_are_dropped(tmp_path) -> None:
  write(tmp_path, 1, 2, 3)
  assert write(tmp_path, 2, before=1) == ''
  assert read_rows(tmp_path) == [row(1), row(2)]
  assert write(tmp_path, before=2) == ''
  assert read_rows(tmp_path) == [row(1), row(2)]
  assert [path.name for path in tmp_path.iterdir()] == ['metrics.csv']


def test_a_new_run_in_the_old_folder_keeps_the_old_metrics(tmp_path) -> None:
  write(tmp_path, 1, 2, 3)
  assert 'the run starts anew, and its metrics of before are metrics.csv.kept1' in write(tmp_path)
  assert write(tmp_path, 1) == ''  # there was only the header
  assert read_rows(tmp_path) == [row(1)]
  write(tmp_path, 1, 2)
  assert {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()} == {
    'metrics.csv.kept1': 4,
    'metrics.csv.kept2': 2,
    'metrics.csv': 3,
  }


# What people, spreadsheets and crashes make of a file of two epochs, as its lines without ends.
EDITS = {
  'no header': lambda text: text.split('\n', 1)[1],
  'a column less': lambda text: ''.join(f'{x.partition(",")[2]}\n' for x in text.splitlines()),
  'another number': lambda text: text.replace('12,2,0.5,', '12,2,0.25,'),
  'rounded': lambda text: text.replace('0.0003333333333333333', '0.00033'),
  'of a German spreadsheet': lambda text: text.replace(',', ';').replace('.', ','),
  'an open quote': lambda text: text.replace('12,2', '"12,2'),
  'NULs within': lambda text: text.replace('12,2', '\x00' * 50 + '12,2'),
  'a huge field': lambda text: text.replace('12,2', 'x' * 200_000),
  'a step that is none': lambda text: text.replace('12,2', 'inf,2'),
}
UNREADABLE = {
  *('no header', 'a column less', 'of a German spreadsheet', 'an open quote', 'NULs within'),
  *('a huge field', 'a step that is none'),
}


@pytest.mark.parametrize('name', EDITS)
def test_what_is_not_the_checkpoints_is_kept_and_written_again(tmp_path, name) -> None:
  path = tmp_path / 'metrics.csv'
  write(tmp_path, 1, 2)
  edited = EDITS[name](path.read_text())
  path.write_text(edited)
  if name in UNREADABLE:
    with pytest.raises(UserError, match=r'metrics\.csv cannot be read \(.*\); restore it') as error:
      read_rows(tmp_path)
    assert '\n' not in str(error.value)
    assert len(str(error.value)) < 500
  note = write(tmp_path, 3, before=2)
  assert 'metrics.csv is not what the checkpoint says: it is kept as metrics.csv.kept1' in note
  assert '\n' not in note
  assert (tmp_path / 'metrics.csv.kept1').read_text() == edited
  assert read_rows(tmp_path) == [row(1), row(2), row(3)]


@pytest.mark.parametrize('left', [0, 20, 101, 130, 180])
def test_an_older_copy_is_completed(tmp_path, left) -> None:
  """Cut anywhere: in the header, between the rows, in a row."""
  path = tmp_path / 'metrics.csv'
  write(tmp_path, 1, 2)
  path.write_bytes(path.read_bytes()[:left])
  assert 'metrics.csv ends before the checkpoint does' in write(tmp_path, 3, before=2)
  assert read_rows(tmp_path) == [row(1), row(2), row(3)]
  assert [path.name for path in tmp_path.iterdir()] == ['metrics.csv']


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig', 'cp1252'])
def test_other_encodings(tmp_path, encoding) -> None:
  path = tmp_path / 'metrics.csv'
  write(tmp_path, 1, 2)
  path.write_bytes((path.read_text() + ('\xe9' if encoding == 'cp1252' else '')).encode(encoding))
  if encoding == 'utf-8-sig':
    assert read_rows(tmp_path) == [row(1), row(2)]
  else:
    with pytest.raises(UserError, match='it is not UTF-8'):
      read_rows(tmp_path)
  bytes_before = path.read_bytes()
  assert 'kept as metrics.csv.kept1' in write(tmp_path, before=2)
  assert (tmp_path / 'metrics.csv.kept1').read_bytes() == bytes_before
  assert read_rows(tmp_path) == [row(1), row(2)]


def test_a_folder_in_its_place_and_none_at_all(tmp_path) -> None:
  (tmp_path / 'metrics.csv').mkdir()
  with pytest.raises(UserError, match=r'metrics\.csv cannot be read \(Is a directory\)'):
    read_rows(tmp_path)
  assert 'kept as metrics.csv.kept1' in write(tmp_path, before=1)
  assert (tmp_path / 'metrics.csv.kept1').is_dir()
  (tmp_path / 'metrics.csv').unlink()
  assert 'is missing and is written again' in write(tmp_path, before=2)
  assert read_rows(tmp_path) == [row(1), row(2)]


def test_deleted_while_training_it_is_written_as_a_whole(tmp_path) -> None:
  rows = [row(1)]
  with RunWriter(tmp_path, [], None, tensorboard=False) as writer:
    writer.write_epoch(rows)
    (tmp_path / 'metrics.csv').unlink()
    rows.append(row(2))
    writer.write_epoch(rows)
  assert read_rows(tmp_path) == rows


def test_half_written_last_line_is_ignored(tmp_path) -> None:
  """Cut after every possible byte: either the whole row or none of it, and never an error.

  A cut inside the last number leaves a shorter number; then the row must not be taken as it stands.
  """
  write(tmp_path, 1, 2)
  path = tmp_path / 'metrics.csv'
  whole = path.read_bytes()
  start = len(whole[: whole.rindex(b'12,2')])
  for end in range(start, len(whole)):
    path.write_bytes(whole[:end])
    rows = read_rows(tmp_path)
    assert rows[0] == row(1)
    assert rows[1:] in ([], [row(2)]), whole[start:end]
    assert write(tmp_path, 2, before=1) == ''
    assert read_rows(tmp_path) == [row(1), row(2)]


def test_folder_that_cannot_be_written(tmp_path) -> None:
  with pytest.raises(UserError, match='cannot write to'):
    RunWriter(tmp_path / 'missing', [], None, tensorboard=False)
