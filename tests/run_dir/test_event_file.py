"""TensorBoard events, read back by TensorBoard's own readers."""

import concurrent.futures
import io
import itertools
import math
import pathlib
import subprocess
import sys
import threading
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
from tests.helpers.metric_rows import row

# TensorBoard reads as where there is no TensorFlow, which it would import.
sys.modules.setdefault('tensorboard.compat.notf', types.ModuleType('notf'))


def test_tensorboard_reads_the_same_numbers(tmp_path) -> None:

  texts = {'config': '```\nseed: 0\n```', 'network': '```\nInput\n```'}
  with RunWriter(tmp_path, [row(1)], 6, tensorboard=True) as writer:
    writer.write_texts(6, texts)
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
  with RunWriter(tmp_path, [row(1)], 6, tensorboard=True) as writer:
    writer.write_texts(6, {'size': '**10** layers'})
    writer.write_images(12, lambda: (IMAGES, {'misclassified': '[2] cat'}))
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
with RunWriter(pathlib.Path(sys.argv[1]), [], None, {wanted}) as writer:
  writer.write_texts(0, {{'config': 'x'}})
  writer.write_hparams({{'epochs': 3}})
  writer.write_success()
  writer.write_epoch([{row(1)}])
  writer.write_images(6, lambda: ({{'x': np.zeros((1, 2, 2, 3), np.uint8)}}, {{}}))
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


def test_rows_and_images_of_two_threads(tmp_path) -> None:
  """One hands over while the other looks at what is finished."""
  with RunWriter(tmp_path, [], None, tensorboard=True) as writer:
    writer.write_texts(0, {'config': 'x'})
    images = threading.Thread(target=writer.write_images, args=(6, lambda: (IMAGES, {})))

    class Pending(list):
      def __bool__(self) -> bool:
        found = len(self) > 0
        if found and images.ident is None:
          images.start()
          images.join(0.3)
        return found

    finished = concurrent.futures.Future[None]()
    finished.set_result(None)
    writer._events._pending[0].result()
    writer._events._pending = Pending([finished])
    writer._events._wanted = False
    writer.write_epoch([row(1)])
    images.join()


def test_full_disk_under_events_is_one_sentence(tmp_path, monkeypatch) -> None:
  if not pathlib.Path('/dev/full').exists():
    pytest.skip('this system has no /dev/full')

  def on_a_full_disk(file: Any) -> Any:
    file.close()
    return record_writer.RecordWriter(open('/dev/full', 'wb'))

  monkeypatch.setattr(event_file, 'RecordWriter', on_a_full_disk)
  with (
    pytest.raises(UserError, match=r'^cannot write to .*tensorboard: the disk is full; '),
    RunWriter(tmp_path, [], None, tensorboard=True) as writer,
  ):
    writer.write_epoch([row(1)])
  assert read_rows(tmp_path) == [row(1)]


def test_failure_to_write_events_is_said_at_the_end(tmp_path) -> None:
  (tmp_path / 'tensorboard').write_text('a file where the folder has to be')
  with (
    pytest.raises(UserError, match=r'cannot write to .*tensorboard'),
    RunWriter(tmp_path, [], None, tensorboard=True) as writer,
  ):
    writer.write_texts(0, {'config': 'x'})


def test_failure_to_write_events_is_said_at_the_next_epoch(tmp_path) -> None:
  (tmp_path / 'tensorboard').write_text('a file where the folder has to be')
  writer = RunWriter(tmp_path, [], None, tensorboard=True)
  writer.write_texts(0, {'config': 'x'})
  concurrent.futures.wait(writer._events._pending)
  with pytest.raises(UserError, match=r'cannot write to .*tensorboard'):
    writer.write_epoch([row(1)])
  assert read_rows(tmp_path) == [row(1)]


def test_the_hparams_page_groups_seeds_and_averages_them(tmp_path) -> None:
  """Read as `tensorboard --logdir` of a repeat or a study does."""
  from tensorboard.plugins.base_plugin import TBContext
  from tensorboard.plugins.hparams import api_pb2, list_session_groups
  from tensorboard.plugins.hparams.backend_context import Context

  for rate, seed, accuracy in ((0.1, 0, 0.5), (0.1, 1, 0.7), (0.2, 0, 0.9)):
    folder = tmp_path / f'rate_{rate}_seeds' / f'seed_{seed}'
    folder.mkdir(parents=True)
    with RunWriter(folder, [], None, tensorboard=True) as writer:
      writer.write_hparams({'optimizer.learning_rate': rate, 'augment.flip': 'none', 'pad': False})
      writer.write_epoch([{**row(1), 'val_accuracy': accuracy}])
      if (rate, seed) != (0.1, 1):
        writer.write_success()
  multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
  provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
  context = Context(TBContext(data_provider=provider, logdir=str(tmp_path)))
  of_runs = context.hparams_metadata(RequestContext(), 'x')
  experiment = context.experiment_from_metadata(
    RequestContext(),
    'x',
    True,
    of_runs,
    context.hparams_from_data_provider(RequestContext(), 'x', 9),
  )
  assert {info.name for info in experiment.hparam_infos} >= {'optimizer.learning_rate', 'pad'}
  accuracy = api_pb2.MetricName(group='validation', tag='accuracy')
  assert accuracy in [info.name for info in experiment.metric_infos]
  request = api_pb2.ListSessionGroupsRequest(
    slice_size=9,
    aggregation_type=api_pb2.AGGREGATION_AVG,
    allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN],
    col_params=[{'metric': accuracy, 'order': api_pb2.ORDER_ASC}],
  )
  groups = list_session_groups.Handler(RequestContext(), context, 'x', request).run().session_groups
  assert [len(group.sessions) for group in groups] == [2, 1]
  assert [group.hparams['optimizer.learning_rate'].number_value for group in groups] == [0.1, 0.2]
  means = [
    value.value for group in groups for value in group.metric_values if value.name == accuracy
  ]
  assert means == [pytest.approx(0.6), pytest.approx(0.9)]
  assert sorted(session.status for session in groups[0].sessions) == [
    *(api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS)
  ]


def test_files_of_one_second_are_ordered_by_name(tmp_path, monkeypatch) -> None:
  """TensorBoard and the dashboard order files by name, in which 10 would come before 9."""
  monkeypatch.setattr(event_file, '_numbers', itertools.count(8))
  monkeypatch.setattr(event_file.time, 'time', lambda: 1e9)
  written = []
  for _ in range(4):
    before = set(tmp_path.iterdir())
    event_file.EventFile(tmp_path).close()
    written += set(tmp_path.iterdir()) - before
  assert sorted(written) == written
