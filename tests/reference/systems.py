"""The systems that are compared: a config of the toolkit beside the same written out."""

import dataclasses
import importlib
from collections.abc import Container
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import data
from tests.reference import networks, rules
from tests.reference.input_path import Inputs
from tests.reference.rules import UPDATES
from tests.reference.training import Outcome, Reference, by_toolkit
from tests.reference.ways import WAYS


@dataclasses.dataclass(frozen=True)
class System:
  """A config of the articles, smaller.

  Attributes:
    network: The class of the reference's network.
    rule: The rule of the reference's updates.
    side: The side of the images in pixels.
    widths: The widths of the blocks, in place of the config's.
    batch_size: The batch size in place of the config's.
    channels: The number of channels of the images.
    pad_to: The side of a black square around the images; 0: none.
    learning_rate: The rate in place of the config's, where that makes much of rounding; 0: the
      config's.
    tolerance: The relative tolerance of each loss.
    examples: The number of examples in the training set.
    end_tolerance: The tolerance of each array after the last update, of its norm. Adam makes steps
      of one size of gradients near 0, so rounding tells there.
    smoothing: The smoothing of the labels in what is minimized.
    six_views: Whether the test is over six views of each image.
  """

  network: type[networks.Network]
  rule: rules.Rule
  side: int = 16
  widths: tuple[int, ...] = ()
  batch_size: int = 16
  channels: int = 3
  pad_to: int = 0
  learning_rate: float = 0.0
  tolerance: float = 1e-5
  examples: int = 160  # two epochs of ten updates of 16
  end_tolerance: float = 1e-3
  smoothing: float = 0.0
  six_views: bool = False


ADAM = rules.adam_of_keras()
DECAY = 1e-6
SYSTEMS = {
  'lr': System(networks.LogisticRegression, ADAM, side=8),
  'mlp': System(networks.Mlp, ADAM, side=8),
  'cnn_simple': System(networks.CnnSimple, ADAM, widths=(8, 16)),
  'cnn_adv': System(networks.CnnAdv, ADAM, widths=(8, 12, 16), end_tolerance=0.2),
  'cnn_fchollet': System(networks.CnnFchollet, rules.rmsprop_of_keras(1e-4, DECAY), widths=(8, 12)),
  'cnn_pkaur': System(networks.CnnPkaur, ADAM, side=22, widths=(8, 12, 16)),
  'tutorial_4layer': System(
    networks.CnnFchollet,
    rules.sgd_of_keras(0.01, 0.0, DECAY, nesterov=True),
    widths=(8, 12),
    learning_rate=0.01,
  ),
  'tutorial_6layer': System(
    networks.Tutorial6Layer,
    rules.sgd_of_keras(0.01, 0.9, DECAY, bounded='Dense_0'),
    widths=(8, 12, 16),
  ),
  'episode2': System(networks.Episode2, rules.sgd_of_keras(0.01, 0.9, 0.0), widths=(8, 12, 16)),
  'p5_dcnn': System(networks.P5Dcnn, ADAM, widths=(8, 8)),
  'p5_8140': System(networks.P58140, ADAM, side=20, widths=(6, 6)),
  'lenet5': System(networks.LeNet5, ADAM, side=28, widths=(6, 16), channels=1, pad_to=32),
  'airbench94': System(
    networks.Airbench94,
    rules.airbench94(UPDATES, 3, rate=0.15),
    side=20,
    widths=(16, 24, 24),
    batch_size=32,
    learning_rate=0.15,
    examples=96,  # three updates an epoch, so the bias of the whitening ends after nine
    smoothing=0.2,
    six_views=True,
  ),
}


def ways_of(cases: dict[str, tuple[Inputs, str]], thorough: Container[str]) -> list[Any]:
  """Parameters (name, way) of a test: each system in the way of its case, and slowly in all.

  Args:
    thorough: Systems whose layers, and whose ways, are those of others: not of every day.
  """

  def marks(name: str, daily: bool) -> tuple[pytest.MarkDecorator, ...]:
    if not daily:
      return (pytest.mark.slow,)
    return (pytest.mark.thorough,) if name in thorough else ()

  return [
    pytest.param(name, way, marks=marks(name, way == daily))
    for name, (_, daily) in cases.items()
    for way in WAYS
  ]


def pictures(system: System, examples: int = 0) -> dict[str, np.ndarray]:
  """Arrays of an .npz: soft shapes by class with noise, so that there is something to learn."""
  generator = np.random.default_rng(0)
  side, channels = system.side, system.channels
  coarse = generator.uniform(40, 200, (10, 4, 4, channels))
  shapes = np.kron(coarse, np.ones((1, -(-side // 4), -(-side // 4), 1)))[:, :side, :side]
  arrays = {}
  for split, count in (('train', examples or system.examples), ('test', 48)):
    labels = generator.integers(0, 10, count)
    labels[:10] = range(10)
    images = shapes[labels] + generator.normal(0, 25, (count, side, side, channels))
    arrays[f'x_{split}'] = np.clip(images, 0, 255).astype(np.uint8)
    arrays[f'y_{split}'] = labels.astype(np.uint8)
  return arrays


def config_of(name: str, folder: Any, **options: Any) -> ConfigDict:
  """The system's own config with what tests change; `options` as 'augment.flip'."""
  system = SYSTEMS[name]
  config = importlib.import_module(f'configs.{name}').get_config()
  config.update_from_flattened_dict(
    {
      'data.name': 'pictures',
      'data.dir': str(folder),
      'data.validation': 'test',
      'batch_size': system.batch_size,
      'epochs': 7,
      'max_steps': UPDATES,
      'devices': 1,
      **options,
    }
  )
  if system.learning_rate:
    config.optimizer.learning_rate = system.learning_rate
  if system.widths:
    config.model.widths = system.widths
  return config.lock()


def compared(
  name: str,
  folder: Any,
  inputs: Inputs,
  whitening: np.ndarray | None = None,
  *,
  examples: int = 0,
  dispatch: int = 1,
  **way: Any,
) -> tuple[Outcome, Outcome]:
  """What toolkit and reference make of the same images.

  Args:
    name: The name of a system.
    folder: The folder for the file of images.
    inputs: The options of the input path.
    whitening: The filters that the first kernel must have, but for the sign of each eigenvector.
    examples: The number of examples in the training set; 0: that of the system.
    dispatch: The number of updates per dispatch.
    way: Options such as 'devices' that must not matter.
  """
  system = SYSTEMS[name]
  np.savez(folder / 'pictures.npz', **pictures(system, examples))
  config = config_of(name, folder, **inputs.options(), **way)
  splits = data.split(data.load(config.data), 'test', 'random', config.seed)
  found = by_toolkit(config, splits, dispatch)
  reference = Reference(
    system.network(system.widths, system.batch_size),
    system.rule,
    inputs,
    system.batch_size,
    config.seed,
    system.smoothing,
    system.six_views,
  )
  arrays = pictures(system, examples)
  border = (system.pad_to - system.side) // 2 if system.pad_to else 0
  edges = ((0, 0), (border, border), (border, border), (0, 0))
  train, test = (
    data.Split(np.pad(arrays[f'x_{split}'], edges), arrays[f'y_{split}'].astype(np.int32))
    for split in ('train', 'test')
  )
  return found, reference.train(train, test, whitened(whitening, found))


def whitened(kernel: np.ndarray | None, found: Outcome) -> Any:
  """Parts of the variables before the first update; eigenvectors have the signs of those found."""
  if kernel is None:
    return {}
  ours = found.start['params']['whitening']['kernel']
  signs = np.sign(np.sum(kernel * ours, axis=(0, 1, 2)))
  np.testing.assert_allclose(ours, signs * kernel, rtol=1e-3, atol=1e-3 * np.abs(kernel).max())
  return {'whitening': {'kernel': ours}}


def assert_same(found: Outcome, expected: Outcome, system: System) -> None:
  """The start, the loss of each update, what is left after the last one, and the test."""
  assert_near(found.start, expected.start, 1e-6)
  every = len(expected.losses) // len(found.losses)
  losses = expected.losses.reshape(-1, every).mean(1)
  np.testing.assert_allclose(found.losses, losses, rtol=system.tolerance)
  assert_near(found.end, expected.end, system.end_tolerance)
  np.testing.assert_allclose(found.test_loss, expected.test_loss, rtol=10 * system.tolerance)
  assert abs(found.test_correct - expected.test_correct) <= 1  # a tie may fall either way


def assert_near(found: Any, expected: Any, tolerance: float) -> None:
  """Each array within so much of its norm."""
  expected = {'batch_stats': {}, **expected}
  pairs = zip(
    jax.tree.leaves_with_path(jax.tree.map(np.asarray, found)),
    jax.tree.leaves_with_path(jax.tree.map(np.asarray, expected)),
    strict=True,
  )
  for (path, a), (other, b) in pairs:
    assert path == other
    difference = np.linalg.norm(a.astype(np.float64) - b)
    assert difference <= tolerance * max(np.linalg.norm(b), 1e-3), (path, difference)
