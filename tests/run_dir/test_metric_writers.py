"""metrics.csv and TensorBoard events, read back by other programs' readers."""

import csv
import io
import math
import pathlib
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter
from tensorboard.summary.writer import record_writer
from tensorboard.util.tensor_util import make_ndarray

from cifar_jax.run_dir import event_file
from cifar_jax.run_dir.history import read_rows
from cifar_jax.run_dir.metric_writers import RunWriter
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY

# TensorBoard reads as where there is no TensorFlow, which it would import.
sys.modules.setdefault('tensorboard.compat.notf', types.ModuleType('notf'))

COLUMNS = [
  *('step', 'epoch', 'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy'),
  *('learning_rate', 'images_per_second', 'epoch_seconds'),
]


def row(epoch: int) -> dict[str, float]:
  values = [6 * epoch, epoch, 1 / epoch, 0.1 * epoch, 1e-30, 1.0, 1e-3 / 3, 12345.678, 1e16]
  return dict(zip(COLUMNS, values, strict=True))


def write(run: pathlib.Path, *epochs: int, before: int = 0) -> str:
  """One session that goes on after some epochs and writes others; returns what it said."""
  rows = [row(epoch) for epoch in range(1, before + 1)]
  with RunWriter(run, rows, rows[-1]['step'] if rows else None, {}, tensorboard=False) as writer:
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
  with RunWriter(tmp_path, [], None, {}, tensorboard=False) as writer:
    writer.write_epoch([{**row(1), 'val_loss': float('inf')}])
  assert read_rows(tmp_path) == [{**row(1), 'val_loss': float('inf')}]


def test_no_file_is_no_rows(tmp_path) -> None:
  assert read_rows(tmp_path) == []


def test_every_row_is_on_disk_at_once(tmp_path) -> None:
  with RunWriter(tmp_path, [], None, {}, tensorboard=False) as writer:
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
  with RunWriter(tmp_path, [], None, {}, tensorboard=False) as writer:
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
    RunWriter(tmp_path / 'missing', [], None, {}, tensorboard=False)


def test_tensorboard_reads_the_same_numbers(tmp_path) -> None:

  texts = {'config': '```\nseed: 0\n```', 'network': '```\nInput\n```'}
  with RunWriter(tmp_path, [row(1)], 6, texts, tensorboard=True) as writer:
    writer.write_epoch([row(1), row(2)])
    writer.write_epoch([row(1), row(2), row(3)])
  folder = tmp_path / 'tensorboard'
  assert {path.name for path in folder.iterdir()} == {'train', 'validation'}
  expected = {
    'train': {
      'loss': 'train_loss',
      'accuracy': 'train_accuracy',
      'learning_rate': 'learning_rate',
      'images_per_second': 'images_per_second',
      'epoch_seconds': 'epoch_seconds',
    },
    'validation': {'loss': 'val_loss', 'accuracy': 'val_accuracy'},
  }
  for curve, columns in expected.items():
    events = EventAccumulator(str(folder / curve), size_guidance={'tensors': 0})
    events.Reload()
    tags = set(events.Tags()['tensors'])
    found_texts = {tag for tag in tags if tag not in columns}
    assert tags - found_texts == set(columns)
    for tag, column in columns.items():
      found = events.Tensors(tag)
      assert [event.step for event in found] == [12, 18]
      values = [float(make_ndarray(event.tensor_proto)) for event in found]
      assert values == [pytest.approx(row(epoch)[column], rel=1e-6) for epoch in (2, 3)]
    if curve == 'validation':
      assert found_texts == set()
      continue
    shown = {
      tag.split('/')[0]: (event.step, make_ndarray(event.tensor_proto).item().decode())
      for tag in found_texts
      for event in events.Tensors(tag)
    }
    assert shown == {name: (6, text) for name, text in texts.items()}


IMAGES = {
  'gray': np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1) * 10,
  'rgb': np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8),
}


def test_tensorboard_shows_images_and_texts(tmp_path) -> None:
  """Its own plugins find them, and serve the pixels and the Markdown."""
  with RunWriter(tmp_path, [row(1)], 6, {'size': '**10** layers'}, tensorboard=True) as writer:
    writer.write_images(12, IMAGES, {'misclassified': '[2] cat'})
  multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
  provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
  every = {'ctx': RequestContext(), 'experiment_id': '', 'downsample': 9}
  texts = provider.read_tensors(**every, plugin_name='text', run_tag_filter=RunTagFilter())
  shown = {
    (run, tag): [(point.step, point.numpy.item().decode()) for point in points]
    for run, tags in texts.items()
    for tag, points in tags.items()
  }
  assert shown == {
    ('tensorboard/train', 'size'): [(6, '**10** layers')],
    ('tensorboard/validation', 'misclassified'): [(12, '[2] cat')],
  }
  found = provider.read_blob_sequences(**every, plugin_name='images', run_tag_filter=RunTagFilter())
  assert {run: set(tags) for run, tags in found.items()} == {'tensorboard/validation': set(IMAGES)}
  for name, expected in IMAGES.items():
    (point,) = found['tensorboard/validation'][name]
    assert point.step == 12
    width, height, *pictures = (
      provider.read_blob(ctx=every['ctx'], blob_key=value.blob_key) for value in point.values
    )
    assert (int(height), int(width)) == expected.shape[1:3]
    decoded = [np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures]
    np.testing.assert_array_equal(np.stack(decoded).reshape(expected.shape), expected)


@pytest.mark.slow
def test_events_are_those_of_tensorflow(tmp_path) -> None:
  """Tags, steps, kinds and values as `tf.summary` writes them, and pixels of the same PNGs."""
  code = """
import sys, numpy, tensorflow as tf
images = numpy.load(sys.argv[1])
with tf.summary.create_file_writer(sys.argv[2]).as_default():
  tf.summary.scalar('loss', 0.1, step=3)
  tf.summary.scalar('accuracy', float('inf'), step=3)
  tf.summary.text('size', '**\u03b1** layers', step=4)
  for name in images:
    tf.summary.image(name, images[name], step=5, max_outputs=9)
"""
  pytest.importorskip('tensorflow')
  np.savez(tmp_path / 'images.npz', **IMAGES)
  subprocess.run(
    [sys.executable, '-c', code, str(tmp_path / 'images.npz'), str(tmp_path / 'theirs')],
    check=True,
    capture_output=True,
  )
  ours = event_file.EventFile(tmp_path / 'ours')
  ours.write_scalars(3, {'loss': 0.1, 'accuracy': math.inf})
  ours.write_texts(4, {'size': '**\u03b1** layers'})
  ours.write_images(5, IMAGES)
  ours.close()
  theirs, own = (written(tmp_path / folder) for folder in ('theirs', 'ours'))
  assert len(own) == 5
  assert own == theirs


def written(folder: pathlib.Path) -> list[tuple[Any, ...]]:
  """What the one event file of a folder says, PNGs as the bytes of their pixels."""

  def plain(content: Any) -> Any:
    is_png = isinstance(content, bytes) and content.startswith(b'\x89PNG')
    return np.asarray(Image.open(io.BytesIO(content))).tobytes() if is_png else content

  (path,) = folder.iterdir()
  events = [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]
  assert events[0].file_version == 'brain.Event:2'
  return [
    (
      event.step,
      value.tag,
      value.metadata.SerializeToString(),
      (tensor := make_ndarray(value.tensor)).dtype.str,
      tensor.shape,
      [plain(content) for content in np.ravel(tensor)],
    )
    for event in events[1:]
    for value in event.summary.value
  ]


# A TensorFlow that is installed, perhaps a broken one, is nobody's business here.
TENSORFLOW_RAISES = """
class Refuses:
  def find_spec(self, name, *_):
    if name.partition('.')[0] == 'tensorflow':
      raise RuntimeError('imported ' + name)
sys.meta_path.insert(0, Refuses())
"""


@pytest.mark.parametrize('wanted', [True, False])
def test_no_tensorflow_is_imported(tmp_path, wanted) -> None:
  code = f"""
import pathlib, sys
{TENSORFLOW_RAISES}
import numpy as np
from cifar_jax.run_dir.metric_writers import RunWriter
with RunWriter(pathlib.Path(sys.argv[1]), [], None, {{'config': 'x'}}, {wanted}) as writer:
  writer.write_epoch([{row(1)}])
  writer.write_images(6, {{'x': np.zeros((1, 2, 2, 3), np.uint8)}}, {{}})
print([name for name in sys.modules if name.startswith(('tensorflow', 'tensorboard', 'PIL.'))])
"""
  done = subprocess.run(
    [sys.executable, '-c', code, str(tmp_path)],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  found = {path.name for path in tmp_path.iterdir()}
  assert found == ({'metrics.csv', 'tensorboard'} if wanted else {'metrics.csv'})
  assert (done.stdout.strip() == '[]') != wanted
  assert read_rows(tmp_path) == [row(1)]


def test_full_disk_under_events_is_one_sentence(tmp_path, monkeypatch) -> None:
  if not pathlib.Path('/dev/full').exists():
    pytest.skip('this system has no /dev/full')

  def on_a_full_disk(file: Any) -> Any:
    file.close()
    return record_writer.RecordWriter(open('/dev/full', 'wb'))

  monkeypatch.setattr(event_file, 'RecordWriter', on_a_full_disk)
  writer = RunWriter(tmp_path, [], None, {'config': 'x'}, tensorboard=True)
  writer.write_epoch([row(1)])
  with pytest.raises(UserError, match=r'^cannot write to .*tensorboard: the disk is full; '):
    writer.__exit__(None, None, None)
  assert read_rows(tmp_path) == [row(1)]


def test_failure_to_write_events_is_said_at_the_end(tmp_path) -> None:
  (tmp_path / 'tensorboard').write_text('a file where the folder has to be')
  writer = RunWriter(tmp_path, [], None, {}, tensorboard=True)
  writer.write_epoch([row(1)])
  with pytest.raises(UserError, match=r'cannot write to .*tensorboard'):
    writer.__exit__(None, None, None)
  assert read_rows(tmp_path) == [row(1)]
