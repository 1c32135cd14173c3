"""What evaluation makes of images, and what predict prints for the same images.

What evaluation makes of an image is measured through its losses: of one image with label k, the
loss is -log p(k).
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from cifar_jax import commands, data
from cifar_jax.data import Split
from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.predict import classifier
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from tests.helpers import tiny
from tests.helpers.picture_files import data_config
from tests.helpers.shared_trainers import shared_trainer, trainers_shared


@contextlib.contextmanager
def small_batches() -> Iterator[None]:
  """One image is evaluated at a time, and the other rows of its batch are blank."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('cifar_jax.trainer.evaluator.EVALUATION_BATCH', 8)
    yield


@small_batches()
def train(config: ConfigDict, run: pathlib.Path, **options) -> tuple[ConfigDict, pathlib.Path]:
  """A few steps of a rate that leaves no two images with like probabilities."""
  config = config.copy_and_resolve_references().unlock()
  config.update({'epochs': 1, 'max_steps': 2, 'batch_size': 8, 'devices': 1})
  config.optimizer.name, config.optimizer.learning_rate = 'adam', 0.03
  if config.model.name == 'conv_net':
    config.model.widths, config.model.head = (4,), ('flatten',)
    config.model.block = ('conv3 same', 'max_pool', 'batch_norm')
  config.update_from_flattened_dict(options)
  config.lock()
  with trainers_shared():
    loop.train(config, run, Progress('silent'))
  return config, run


def on_folder(tree: pathlib.Path, run: pathlib.Path, **options) -> tuple[ConfigDict, pathlib.Path]:
  config = tiny.get_config()
  config.data = data_config(tree)
  config.data.validation = '4'
  return train(config, run, **options)


@small_batches()
def evaluated(config: ConfigDict, run: pathlib.Path, count: int | None = None) -> np.ndarray:
  """float64 [N, classes] of the first test images, by the losses of evaluation."""
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  trainer = shared_trainer(config, splits)
  with Checkpoints(run, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(trainer.abstract_state())
  test = splits.test

  def loss(place: int, label: int) -> float:
    images = np.asarray(test.images[place : place + 1])
    one = Split(images, np.array([label], np.int32))
    return trainer.evaluate(state, trainer.evaluate.place(one))['loss']

  places = range(len(test) if count is None else count)
  return np.exp([[-loss(place, label) for label in range(splits.num_classes)] for place in places])


def predicted(capsys, run: pathlib.Path, *places: pathlib.Path) -> dict[str, np.ndarray]:
  """File -> probabilities of the classes, as the command prints them."""
  capsys.readouterr()
  commands.main(['predict', str(run), *map(str, places), '--format=json', '--top=99'])
  names = classifier.load(run).class_names
  found = {}
  for line in map(json.loads, capsys.readouterr().out.splitlines()):
    by_class = {each['class']: each['probability'] for each in line['top']}
    found[line['image']] = np.array([by_class[name] for name in names])
  return found


def assert_same(found: np.ndarray, expected: np.ndarray, apart: float = 0.02) -> None:
  """Equal to the six digits that are printed, and not because the network answers one thing."""
  assert np.ptp(expected, axis=0).max() > apart
  np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
  assert np.array_equal(found.argmax(1), expected.argmax(1))


def assert_folder_agrees(capsys, tree, config: ConfigDict, run: pathlib.Path) -> None:
  files = [str(file.path) for file in list_folder(tree).splits['test']]
  found = predicted(capsys, run, tree / 'test')
  assert sorted(found) == sorted(files)
  assert_same(np.stack([found[name] for name in files]), evaluated(config, run))


def write_png(folder: pathlib.Path, images: np.ndarray) -> list[pathlib.Path]:
  """uint8 [N, H, W, C] as files that hold every bit."""
  folder.mkdir()
  paths = [folder / f'{place}.png' for place in range(len(images))]
  for path, image in zip(paths, images, strict=True):
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
  return paths


def drawn(count: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
  generator = np.random.default_rng(count)
  labels = np.arange(count) % 3
  images = generator.integers(0, 160, (count, *shape)) + 30 * labels[:, None, None, None]
  return images.astype(np.uint8), labels
