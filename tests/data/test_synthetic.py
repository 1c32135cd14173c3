"""The built-in data set: always the same, balanced, and no task for a linear model."""

import zlib

import numpy as np

from cifar_jax.data import synthetic


def test_is_what_it_says() -> None:
  dataset = synthetic.load()
  assert dataset.synthetic
  assert (dataset.name, dataset.source) == ('synthetic', 'built in')
  assert dataset.train.images.shape == (10_000, 32, 32, 3)
  assert dataset.test.images.shape == (2_000, 32, 32, 3)
  assert dataset.train.images.dtype == np.uint8
  assert np.bincount(dataset.train.labels).tolist() == [1_000] * 10
  assert np.bincount(dataset.test.labels).tolist() == [200] * 10
  assert len(set(dataset.class_names)) == 10
  assert (np.diff(dataset.train.labels[:100]) != 0).any()  # Mixed: no batch of one class.
  assert not dataset.train.images.flags.writeable


def test_is_always_the_same() -> None:
  first = synthetic.load()
  synthetic.load.cache_clear()
  again = synthetic.load()
  np.testing.assert_array_equal(first.train.images, again.train.images)
  np.testing.assert_array_equal(first.test.labels, again.test.labels)


def test_no_test_image_is_in_the_training_set() -> None:
  dataset = synthetic.load()
  train, test = (
    {zlib.crc32(image.tobytes()) for image in part.images} for part in (dataset.train, dataset.test)
  )
  assert len(train) > 9_990
  assert not train & test


def test_pixels_alone_say_little() -> None:
  """A least-squares classifier on the pixels is better than chance, and poor."""
  dataset = synthetic.load()
  train, test = (
    np.c_[part.images[:, ::4, ::4].reshape(len(part), -1) / np.float32(255), np.ones(len(part))]
    for part in (dataset.train, dataset.test)
  )
  targets = np.eye(10)[dataset.train.labels]
  ridge = 10 * np.eye(train.shape[1])
  weights = np.linalg.solve(train.T @ train + ridge, train.T @ targets)
  accuracy = ((test @ weights).argmax(1) == dataset.test.labels).mean()
  assert 0.25 < accuracy < 0.6
