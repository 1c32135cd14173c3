"""Gradients in parts, of weighted and penalized losses, and uphill, against NumPy and Optax."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cifar_jax import layers
from cifar_jax.augment.normalize import make_normalize, scale
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training import losses
from cifar_jax.training.gradients import AugmentedBatch, compute_gradients
from cifar_jax.training.recipe import Recipe

CLASSES, BATCH = 3, 12
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(size=(BATCH, 2, 3, 2)).astype(np.float32)
LABELS = GENERATOR.integers(0, CLASSES, BATCH).astype(np.int32)
KEY = jax.random.key(0)


class Linear(nn.Module):
  batch_norm: bool = False

  @nn.compact
  def __call__(self, images, train, mask=None):
    pixels = images.reshape(len(images), -1)
    if self.batch_norm:
      pixels = layers.BatchNorm()(pixels, use_running_average=not train, mask=mask)
    return layers.Dense(CLASSES)(pixels)


def recipe_of(module: nn.Module, **parts: Any) -> Recipe:
  return Recipe(
    module=module,
    image_shape=IMAGES.shape[1:],
    optimizer=optax.sgd(0.1),
    loss=losses.cross_entropy,
    normalize=make_normalize((0.0,), (1.0,)),
    augment=lambda key, example_key, images, indices, epoch: scale(images),
    examples=BATCH,
    batch_size=BATCH,
    drop_remainder=False,
    **parts,
  )


def gradients_of(module: nn.Module, mask: np.ndarray | None = None, **parts: Any):
  recipe = recipe_of(module, **parts)
  variables = module.init(jax.random.key(1), IMAGES, train=False)
  batch = AugmentedBatch(IMAGES, losses.MixedLabels(LABELS), mask)

  @jax.jit
  def compute(variables, batch):
    return compute_gradients(
      recipe, DataParallel(), variables['params'], variables.get('batch_stats', {}), batch, KEY
    )

  gradients, aux = compute(variables, batch)
  return variables['params'], gradients, aux


def by_hand(params, mask: np.ndarray, weights: np.ndarray, l1: float = 0.0, l2: float = 0.0):
  """Gradients of softmax regression in float64."""
  kernel, bias = (np.asarray(params['Dense_0'][n], np.float64) for n in ('kernel', 'bias'))
  pixels = IMAGES.reshape(BATCH, -1).astype(np.float64)
  exponentials = np.exp(pixels @ kernel + bias)
  difference = exponentials / exponentials.sum(1, keepdims=True) - np.eye(CLASSES)[LABELS]
  difference *= (weights[LABELS] * mask)[:, None] / mask.sum()
  penalty = l1 * np.sign(kernel) + 2 * l2 * kernel
  return {'kernel': pixels.T @ difference + penalty, 'bias': difference.sum(0)}


def assert_close(found, expected, atol=1e-6) -> None:
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), found, expected)


@pytest.mark.parametrize('counted', [BATCH, 5, 2])
@pytest.mark.parametrize('parts', [1, 3, 4])
def test_parts_add_up_to_the_whole_batch(parts, counted) -> None:
  """Of 5 rows 3 parts have 2, 2 and 1; of 2 rows some of 4 parts have none."""
  mask = None if counted == BATCH else np.arange(BATCH) < counted
  params, found, aux = gradients_of(Linear(), mask, grad_accum_steps=parts)
  counts = np.ones(BATCH) if mask is None else mask
  assert_close(found['Dense_0'], by_hand(params, counts, np.ones(CLASSES)))
  _, _, whole = gradients_of(Linear(), mask)
  assert aux.metrics.loss.count == counted
  assert_close(aux.metrics.compute(), whole.metrics.compute())


def test_statistics_of_a_part_of_padding_alone_do_not_count() -> None:
  mask = np.arange(BATCH) < 2
  _, gradients, aux = gradients_of(Linear(batch_norm=True), mask, grad_accum_steps=4)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
  # Rows 0 and 1 are parts of their own: the running mean is updated by each of them, momentum 0.99.
  pixels = IMAGES.reshape(BATCH, -1)
  expected = 0.99 * 0.01 * pixels[0] + 0.01 * pixels[1]
  found = aux.batch_stats['BatchNorm_0']['mean']
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_class_weights_by_hand() -> None:
  weights = (1.0, 0.0, 2.5)
  loss = losses.class_weighted(losses.cross_entropy, weights)
  params, found, aux = gradients_of(Linear(), training_loss=loss)
  assert_close(found['Dense_0'], by_hand(params, np.ones(BATCH), np.array(weights)))
  assert_close(aux.metrics.compute()['loss'], plain_loss(params))


@pytest.mark.parametrize('labels', [[0, 0, 0, 1, 2, 2], [0, 0, 1, 3, 3, 3, 3]], ids=str)
def test_balanced_class_weights_are_those_of_scikit_learn(labels) -> None:
  """Of the classes that occur; the others have no example to weigh."""
  class_weight = pytest.importorskip('sklearn.utils.class_weight')
  there = np.unique(labels)
  found = losses.balanced_class_weights(np.int32(labels), 4)
  expected = class_weight.compute_class_weight('balanced', classes=there, y=labels)
  np.testing.assert_allclose(np.array(found)[there], expected)
  assert sum(found) == sum(np.array(found)[there])
  assert np.mean([found[label] for label in labels]) == pytest.approx(1.0)


@pytest.mark.thorough
def test_class_weights_are_those_of_keras() -> None:
  weights = (1.0, 0.0, 2.5)
  loss = losses.class_weighted(losses.cross_entropy, weights)
  logits = GENERATOR.standard_normal((BATCH, CLASSES)).astype(np.float32)
  keras = pytest.importorskip('keras')
  expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
    LABELS, logits, sample_weight=np.array(weights, np.float32)[LABELS]
  )
  np.testing.assert_allclose(loss(logits, LABELS).mean(), float(expected), rtol=1e-5)


def plain_loss(params) -> float:
  """Mean cross-entropy of softmax regression over all rows, in float64."""
  kernel, bias = (np.asarray(params['Dense_0'][n], np.float64) for n in ('kernel', 'bias'))
  logits = IMAGES.reshape(BATCH, -1).astype(np.float64) @ kernel + bias
  return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(BATCH), LABELS]))


@pytest.mark.parametrize('parts', [1, 3])
def test_smoothing_is_minimized_and_the_plain_loss_reported(parts) -> None:
  smoothing = 0.3
  loss = functools.partial(losses.cross_entropy, label_smoothing=smoothing)
  params, found, aux = gradients_of(Linear(), training_loss=loss, grad_accum_steps=parts)
  pixels = IMAGES.reshape(BATCH, -1).astype(np.float64)
  logits = pixels @ np.asarray(params['Dense_0']['kernel'], np.float64)
  targets = np.eye(CLASSES)[LABELS] * (1 - smoothing) + smoothing / CLASSES
  difference = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - targets) / BATCH
  assert_close(found['Dense_0'], {'kernel': pixels.T @ difference, 'bias': difference.sum(0)})
  assert_close(aux.metrics.compute()['loss'], plain_loss(params))


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize(('l1', 'l2'), [(0.01, 0.0), (0.0, 0.3), (0.02, 0.1)])
def test_penalties_of_kernels_alone(l1, l2, parts) -> None:
  penalty = losses.kernel_penalty(l1, l2)
  params, found, _ = gradients_of(Linear(), penalty=penalty, grad_accum_steps=parts)
  assert_close(found['Dense_0'], by_hand(params, np.ones(BATCH), np.ones(CLASSES), l1, l2))
  kernel = np.asarray(params['Dense_0']['kernel'], np.float64)
  np.testing.assert_allclose(
    penalty(params), l1 * np.abs(kernel).sum() + l2 * (kernel**2).sum(), rtol=1e-5
  )


def test_no_penalty() -> None:
  assert losses.kernel_penalty(0.0, 0.0) is None


def test_uphill_gradients_are_those_of_optax_sam() -> None:
  """`optax.contrib.sam` with its adversarial step normalized, as in its documentation."""
  params, found, _ = gradients_of(Linear(), sam_rho=0.3)

  @jax.jit
  def gradient(params, _):
    return jax.grad(loss)(params)

  def loss(params):
    logits = Linear().apply({'params': params}, IMAGES, train=True)
    return losses.cross_entropy(logits, jnp.asarray(LABELS)).mean()

  climb = optax.chain(optax.contrib.normalize(), optax.sgd(0.3))
  sam = optax.contrib.sam(optax.sgd(0.1), climb, sync_period=2, opaque_mode=True)
  updates, _ = sam.update(gradient(params, 0), sam.init(params), params, grad_fn=gradient)
  assert_close(jax.tree.map(lambda g: -0.1 * g, found), updates)
  plain = by_hand(params, np.ones(BATCH), np.ones(CLASSES))
  assert np.abs(found['Dense_0']['kernel'] - plain['kernel']).max() > 1e-3
