"""Streamed images: the same as from the cache, whatever the workers, resumed to the bit."""

import dataclasses
import itertools

import numpy as np
import pytest

pytest.importorskip('PIL')
pytest.importorskip('grain')

from cifar_jax import data
from cifar_jax.augment.normalize import fit_normalize
from cifar_jax.data.image_folder.stream import FileSplit
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.picture_files import data_config, write_tree
from tests.helpers.runs import assert_identical, changed, state_of


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  counts = {'train/a': 21, 'train/b': 19, 'validation/a': 4, 'validation/b': 5}
  return write_tree(tmp_path_factory.mktemp('streamed'), counts)


def streamed(tree, **options):
  config = data_config(tree, cache=False, **options)
  config.placement = 'host'
  return data.load(config)


def test_the_images_are_those_of_the_cache(tree) -> None:
  cached, files = data.load(data_config(tree)), streamed(tree)
  assert isinstance(files.train, FileSplit)
  assert np.array_equal(files.train.labels, cached.train.labels)
  assert np.array_equal(files.train.images[:], cached.train.images)
  assert files.train.images.shape == cached.train.images.shape
  rows = np.array([39, 0, 7, 7])
  assert np.array_equal(next(files.train.batches([rows])), cached.train.images[rows])
  splits = [data.split(dataset, '0.1', 'random', 0) for dataset in (cached, files)]
  assert splits[0].facts == splits[1].facts
  assert 'not looked through' in data.with_shared_images_noted(splits[1]).notes[-1]
  with pytest.raises(UserError, match=r'duplicates_together compares .*folder\.cache=True'):
    data.split(streamed(tree / 'train'), '10', 'random', 0, together=True)
  held_out = data.split(streamed(tree / 'train'), '10', 'random', 0)
  assert len(held_out.train) == 30
  assert len(held_out.validation) == 10


@pytest.mark.parametrize('kind', ['channel', 'zca'])
def test_statistics_of_a_stream_are_those_of_the_cached_images(tree, kind) -> None:
  config = data_config(tree)
  config.normalize = kind
  found = fit_normalize(config, streamed(tree).train.images)
  expected = fit_normalize(config, data.load(config).train.images)
  for name in ('mean', 'std', 'whitening'):
    np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
  if kind == 'channel':
    scaled = np.asarray(data.load(config).train.images, np.float64) / 255
    np.testing.assert_allclose(found.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.std, scaled.std((0, 1, 2)), rtol=1e-6)


def test_a_part_of_a_stream_keeps_its_labels(tree) -> None:
  """Also where they were renumbered."""
  train = streamed(tree).train
  turned = dataclasses.replace(train, labels=1 - train.labels)
  places = np.array([0, 39, 20])
  assert turned.take(places).labels.tolist() == (1 - train.labels[places]).tolist()
  assert np.array_equal(turned.take(places).images[:], train.images[places])


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_batches(tree) -> None:
  generator = np.random.default_rng(0)
  rows = [generator.integers(0, 40, 6) for _ in range(9)]
  one = list(streamed(tree, workers=1).train.batches(rows))
  three = list(streamed(tree, workers=3).train.batches(iter(rows)))
  assert len(one) == len(three) == 9
  for a, b in zip(one, three, strict=True):
    assert np.array_equal(a, b)
  # Stopped early, the workers end.
  assert len(list(itertools.islice(streamed(tree, workers=2).train.batches(rows), 2))) == 2


def test_a_damaged_file_ends_the_run_by_name(tree, tmp_path) -> None:
  write_tree(tmp_path, {'a': 3, 'b': 3})
  (tmp_path / 'b' / '001.png').write_bytes(b'')
  split = streamed(tmp_path, workers=1).train
  with pytest.raises(UserError, match=r'b/001\.png cannot be used \(empty\); remove it'):
    list(split.batches([np.array([0, 1]), np.array([3, 4])]))


def test_what_a_stream_cannot_do(tree) -> None:
  with pytest.raises(UserError, match=r'set --config\.data\.placement=host as well'):
    data.load(data_config(tree, cache=False))
  with pytest.raises(UserError, match='needs to know all damaged files beforehand'):
    streamed(tree, damaged='skip')


@pytest.mark.slow
def test_trained_stopped_and_resumed_to_the_bit(tree, tmp_path) -> None:
  """In the middle of an epoch; and cached images give the same bits."""
  config = tiny.get_config()
  config.data = data_config(tree)
  config.data.placement = 'host'
  config.batch_size = 16  # 40 images: three steps, the last one short
  config.epochs = 2
  config.data.folder.workers = 1
  cached = config.lock()
  stream = changed(cached, **{'data.folder.cache': False})
  silent = Progress('silent')
  loop.train(cached, tmp_path / 'cached', silent)
  loop.train(changed(stream, max_steps=4), tmp_path / 'stopped', silent)
  loop.train(stream, tmp_path / 'stopped', silent)
  assert_identical(state_of(cached, tmp_path / 'cached'), state_of(stream, tmp_path / 'stopped'))
