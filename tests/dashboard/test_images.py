"""Images of epochs, read from the events that a run writes."""

import io

import numpy as np
import pytest
from PIL import Image

from cifar_jax.dashboard.images import EpochImages
from cifar_jax.run_dir.event_file import read_records
from cifar_jax.run_dir.metric_writers import RunWriter
from tests.helpers import shown_runs

BATCH = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)


def write(run, step: int, batch: np.ndarray) -> None:
  texts = {'misclassified': '```\n[1] predicted a actual b\n 9.0 a\n\n[1] <b>\n```'}
  with RunWriter(run, [], None, tensorboard=True) as writer:
    writer.write_epoch([shown_runs.row(1)])
    writer.write_images(step, lambda: ({'misclassified': batch, 'other': batch}, texts))


def test_what_was_written_is_served_and_nothing_else(tmp_path) -> None:
  write(tmp_path, 6, BATCH)
  images = EpochImages()
  captions = ['[1] predicted a actual b\n 9.0 a', '[1] <b>']
  assert images.steps(tmp_path) == [{'step': 6, 'misclassified': 2, 'captions': captions}]
  for index in (0, 1):
    content = images.png(tmp_path, 6, 'misclassified', index)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), BATCH[index])
  for step, tag, index in ((6, 'misclassified', 2), (6, 'misclassified', -1), (6, 'other', 0)):
    assert images.png(tmp_path, step, tag, index) is None
  assert images.png(tmp_path, 7, 'misclassified', 0) is None
  # A session that went on wrote that epoch again, and another.
  write(tmp_path, 6, 255 - BATCH[:1])
  write(tmp_path, 12, BATCH[:1])
  assert [step['step'] for step in images.steps(tmp_path)] == [6, 12]
  content = images.png(tmp_path, 6, 'misclassified', 0)
  np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), 255 - BATCH[0])


def test_files_that_are_cut_written_or_no_events(tmp_path) -> None:
  write(tmp_path, 6, BATCH)
  (path,) = (tmp_path / 'tensorboard' / 'validation').iterdir()
  whole = path.read_bytes()
  images = EpochImages()
  for size in (0, 5, 40, len(whole) // 2):
    path.write_bytes(whole[:size])
    assert images.steps(tmp_path) == []
  path.write_bytes(whole)  # it grows
  assert images.steps(tmp_path)[0]['misclassified'] == 2
  path.write_bytes(b'\xff' * 100)
  assert images.steps(tmp_path) == []
  path.write_bytes(b'\x03' + bytes(11) + b'abc' + bytes(4))  # a record, and no event
  assert images.steps(tmp_path) == []
  assert [record for _, record in read_records(path)] == [b'abc']
  path.unlink()
  assert images.steps(tmp_path) == []
  assert images.png(tmp_path, 6, 'misclassified', 0) is None


def test_places_of_few_files_are_remembered(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr('cifar_jax.dashboard.images._MOST_FILES', 1)
  images = EpochImages()
  for name in 'aba':
    if not (tmp_path / name).exists():
      (tmp_path / name).mkdir()
      write(tmp_path / name, 6, BATCH)
    assert images.steps(tmp_path / name)[0]['misclassified'] == 2
    assert [path.relative_to(tmp_path).parts[0] for path in images._files] == [name]


@pytest.mark.parametrize('content', [b'GIF89a', b'<svg onload="alert(1)"/>'])
def test_only_png_is_served(tmp_path, monkeypatch, content) -> None:
  monkeypatch.setattr('cifar_jax.run_dir.event_file._png', lambda _: content)
  write(tmp_path, 6, BATCH)
  images = EpochImages()
  assert images.steps(tmp_path)[0]['misclassified'] == 2
  assert images.png(tmp_path, 6, 'misclassified', 0) is None
