"""What goes to TensorBoard between epochs, and that it leaves the training as it is."""

import filecmp

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.predict import classifier
from cifar_jax.report.epoch_images import EpochImages
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop

pytest.importorskip('matplotlib')
metrics = pytest.importorskip('sklearn.metrics')


def with_pictures(config, every: int, mistakes: int = 20):
  config = config.copy_and_resolve_references().unlock()
  config.tensorboard = True
  config.evaluate.images_every_epochs = every
  config.evaluate.max_misclassified = mistakes
  return config.lock()


@pytest.mark.parametrize(('every', 'epochs'), [(0, []), (1, [1, 2, 3, 4]), (2, [2, 4])])
def test_due(tiny_config, every, epochs) -> None:
  pictures = EpochImages(with_pictures(tiny_config, every))
  assert [epoch for epoch in (1, 2, 3, 4) if pictures.due(epoch)] == epochs


def test_without_tensorboard_there_are_none(tiny_config) -> None:
  config = with_pictures(tiny_config, 1).copy_and_resolve_references().unlock()
  config.tensorboard = False
  assert not EpochImages(config).due(1)


def test_what_is_drawn(tiny_run) -> None:
  network = classifier.load(tiny_run)
  splits = data.load_splits(network.config)
  config = with_pictures(network.config, 1, mistakes=3)
  probabilities = network.probabilities(splits.validation.images)
  pictures, texts = EpochImages(config).draw(splits, probabilities, 2)
  predicted = probabilities.argmax(1)
  wrong = np.flatnonzero(predicted != splits.validation.labels)
  assert len(wrong) > 0
  np.testing.assert_array_equal(pictures['misclassified'], splits.validation.images[wrong[:3]])
  first = wrong[0]
  names = splits.class_names
  title = f'[2] predicted {names[predicted[first]]} actual {names[splits.validation.labels[first]]}'
  assert title in texts['misclassified']
  assert texts['misclassified'].count(' !!!') == min(3, len(wrong))
  matrix = metrics.confusion_matrix(splits.validation.labels, predicted, labels=range(4))
  for row in matrix:
    assert ' '.join(map(str, row)) in ' '.join(texts['confusion_matrix'].split())
  for picture in pictures.values():
    assert picture.dtype == np.uint8
    assert picture.ndim == 4


@pytest.mark.slow
def test_a_run_with_pictures_is_the_run_without(tiny_config, tmp_path) -> None:
  accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  plain = tiny_config.copy_and_resolve_references().unlock()
  plain.epochs = 2
  loop.train(plain.lock(), tmp_path / 'plain', Progress('silent'))
  config = with_pictures(plain, 1)
  loop.train(
    config, tmp_path / 'pictures', Progress('silent'), extra_callbacks=[EpochImages(config)]
  )
  losses = [
    [row.split(',')[:6] for row in (tmp_path / run / 'metrics.csv').read_text().splitlines()]
    for run in ('plain', 'pictures')
  ]
  assert losses[0] == losses[1]
  events = accumulator.EventAccumulator(str(tmp_path / 'pictures' / 'tensorboard' / 'validation'))
  events.Reload()
  tags = events.Tags()
  assert {'confusion_matrix', 'augmented_samples', 'misclassified'} <= {
    tag.split('/')[0] for tag in (*tags['images'], *tags['tensors'])
  }
  assert filecmp.cmp(tmp_path / 'plain' / 'about.json', tmp_path / 'pictures' / 'about.json')
