"""What a config and its data must agree on is checked before the first step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.devices import sharding
from cifar_jax.run_dir import checksums
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.recipe import make_plan, make_recipe
from cifar_jax.training import steps
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import assert_identical, changed


def assembled(config, **values):
  config = changed(config, **values)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  return build_trainer(config, splits), splits


def test_steps_and_the_short_batch(tiny_config) -> None:
  """180 training examples."""
  for batch_size, drop, per_epoch, short in [
    (32, False, 6, True),
    (32, True, 5, False),
    (60, False, 3, False),
    (180, True, 1, False),
    (256, False, 1, True),
  ]:
    trainer, _ = assembled(
      tiny_config, batch_size=batch_size, epochs=7, **{'data.drop_remainder': drop}
    )
    assert trainer.steps_per_epoch == per_epoch
    assert trainer.total_steps == 7 * per_epoch
    assert trainer.recipe.short_last_batch == short


def test_a_batch_that_would_drop_everything(tiny_config) -> None:
  with pytest.raises(UserError, match=r'--config\.batch_size=181 .* 180 .*drop_remainder=True'):
    assembled(tiny_config, batch_size=181, **{'data.drop_remainder': True})


@pytest.mark.parametrize('option', ['mean', 'std'])
def test_a_mean_for_another_number_of_channels(tiny_config, option) -> None:
  """Two numbers for three channels; one number serves all."""
  with pytest.raises(UserError, match=rf'--config\.data\.{option} has 2 .*3 channels'):
    assembled(tiny_config, **{f'data.{option}': (0.5, 0.25)})
  assembled(tiny_config, **{f'data.{option}': (0.5,)})


LINEAR = {'model.widths': (), 'model.block': (), 'model.head': ('flatten',)}
SGD = {'optimizer.name': 'sgd', 'optimizer.learning_rate': 0.5}


def recipe_of(config, **values):
  config = changed(config, **LINEAR, **SGD, **values)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  return make_recipe(config, splits, make_plan(config, len(splits.train)))


def test_a_plateau_scales_the_learning_rates_of_all_groups(tiny_config) -> None:
  """The scale is in the optimizer's state, where a checkpoint keeps it, and nothing else moves."""
  with tiny_config.unlocked():
    tiny_config.optimizer.groups = ConfigDict(
      {'biases': {'pattern': '.*bias', 'learning_rate_factor': 3.0, 'schedule_epochs': 1}}
    )
  recipe = recipe_of(tiny_config, **{'plateau.patience': 1})
  state = steps.init_state(recipe, steps.random_keys(0))
  gradients = jax.tree.map(jnp.ones_like, state.params)
  assert float(steps.lr_scale(state)) == 1
  scaled = steps.with_lr_scale(state, 0.25)
  assert float(steps.lr_scale(scaled)) == 0.25
  assert 'opt_state/hyperparams/lr_scale' in checksums.leaves(scaled)
  assert jax.tree.structure(scaled) == jax.tree.structure(state)
  for found, scale in ((state, 1.0), (scaled, 0.25)):
    updates, after = recipe.optimizer.update(gradients, found.opt_state, found.params)
    np.testing.assert_array_equal(updates['logits']['kernel'], np.float32(-0.5 * scale))
    np.testing.assert_array_equal(updates['logits']['bias'], np.float32(-1.5 * scale))
    assert float(steps.lr_scale(found.replace(opt_state=after))) == scale


def test_without_a_plateau_the_state_has_no_scale(tiny_config) -> None:
  recipe = recipe_of(tiny_config)
  state = steps.init_state(recipe, steps.random_keys(0))
  expected = optax.sgd(lambda count: 0.5).init(state.params)
  counts = [leaf.shape for leaf in jax.tree.leaves(expected)]
  assert [leaf.shape for leaf in jax.tree.leaves(state.opt_state)] == counts
  assert steps.lr_scale(state) == 1.0


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
def test_training_and_evaluation_normalize(tiny_config, kind) -> None:
  """The first training loss and the evaluation loss of a linear network, against NumPy."""
  values = {'data.normalize': kind, 'data.zca_epsilon': 0.1}
  if kind == 'given':
    values.update({'data.mean': MEAN, 'data.std': STD})
  config = changed(tiny_config, batch_size=180, **values, **LINEAR)
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


def test_a_state_made_on_the_host_is_the_same_and_on_every_device(tiny_config, monkeypatch) -> None:
  trainer, _ = assembled(tiny_config, **LINEAR, **SGD)
  there = trainer.init()
  asked = []

  def host_of(mesh):
    asked.append(mesh)
    return jax.devices()[0]

  monkeypatch.setattr(sharding, 'host_of', host_of)
  from_host = trainer.init()
  assert asked == [trainer.mesh]
  assert_identical(from_host, there)
  for one, other in zip(jax.tree.leaves(from_host), jax.tree.leaves(there), strict=True):
    assert one.sharding == other.sharding == sharding.replicated(trainer.mesh)


def test_the_host_takes_nothing_over_from_cpu_devices(tiny_config) -> None:
  trainer, _ = assembled(tiny_config, **LINEAR, **SGD)
  assert sharding.host_of(trainer.mesh) is None
