"""What a config and its data must agree on is checked before the first step."""

import jax
import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.trainer.build import build_trainer
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import changed


def assembled(config, **values):
  config = changed(config, **values)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  return build_trainer(config, splits), splits


def test_steps_and_the_short_batch(tiny_config) -> None:
  """180 training examples."""
  for batch_size, last_batch, steps, short in [
    (32, 'keep', 6, True),
    (32, 'drop', 5, False),
    (60, 'keep', 3, False),
    (180, 'drop', 1, False),
    (256, 'keep', 1, True),
  ]:
    trainer, _ = assembled(
      tiny_config, batch_size=batch_size, epochs=7, **{'data.last_batch': last_batch}
    )
    assert trainer.steps_per_epoch == steps
    assert trainer.total_steps == 7 * steps
    assert trainer.short_last_batch == short


def test_a_batch_that_would_drop_everything(tiny_config) -> None:
  with pytest.raises(UserError, match=r"--config\.batch_size=181 .* 180 .*last_batch='drop'"):
    assembled(tiny_config, batch_size=181, **{'data.last_batch': 'drop'})


@pytest.mark.parametrize('option', ['mean', 'std'])
def test_a_mean_for_another_number_of_channels(tiny_config, option) -> None:
  """Two numbers for three channels; one number serves all."""
  with pytest.raises(UserError, match=rf'--config\.data\.{option} has 2 .*3 channels'):
    assembled(tiny_config, **{f'data.{option}': (0.5, 0.25)})
  assembled(tiny_config, **{f'data.{option}': (0.5,)})


MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def numpy_normalized(kind: str, images: np.ndarray, train: np.ndarray, config) -> np.ndarray:
  """uint8 [N, H, W, C] by the textbook's formula, in float64."""
  pixels, known = images / 255, train / 255
  if kind == 'given':
    return (pixels - MEAN) / STD
  if kind == 'channel':
    return (pixels - known.mean((0, 1, 2))) / known.std((0, 1, 2))
  flat = known.reshape(len(known), -1)
  variances, axes = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
  whitening = axes @ np.diag(1 / np.sqrt(variances + config.data.zca_epsilon)) @ axes.T
  return ((pixels.reshape(len(pixels), -1) - flat.mean(0)) @ whitening).reshape(pixels.shape)


@pytest.mark.parametrize('kind', ['given', 'channel', 'zca'])
def test_training_and_evaluation_normalise(tiny_config, kind) -> None:
  """The first training loss and the evaluation loss of a linear network, against NumPy."""
  values = {'data.normalize': kind, 'data.zca_epsilon': 0.1}
  if kind == 'given':
    values.update({'data.mean': MEAN, 'data.std': STD})
  config = changed(tiny_config, batch_size=180, **values, **{'model.block': (), 'model.widths': ()})
  config = changed(config, **{'model.head': ('flatten',)})
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  trainer = build_trainer(config, splits)
  state = trainer.init()
  weights = jax.device_get(state.params)
  (kernel,) = [leaf for leaf in jax.tree.leaves(weights) if leaf.ndim == 2]
  (bias,) = [leaf for leaf in jax.tree.leaves(weights) if leaf.ndim == 1]

  def expected(split) -> float:
    inputs = numpy_normalized(kind, split.images, splits.train.images, config)
    logits = inputs.reshape(len(inputs), -1) @ kernel.astype(np.float64) + bias
    chosen = logits[np.arange(len(logits)), split.labels]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - chosen))

  found = trainer.evaluate(state, trainer.evaluate.place(splits.test))['loss']
  assert found == pytest.approx(expected(splits.test), rel=1e-4)
  order = trainer.epoch_order(trainer.keys, np.int32(0))
  arrays = state, splits.train.images, splits.train.labels, order
  _, report = trainer.train_steps(1)(trainer.keys, *arrays, masked=False)
  assert float(report.loss) == pytest.approx(expected(splits.train), rel=1e-4)
