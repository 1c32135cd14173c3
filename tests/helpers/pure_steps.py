"""The pure steps of a softmax regression on ten images, and the same numbers by NumPy."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cifar_jax import layers
from cifar_jax.augment import Augmentation
from cifar_jax.augment.normalize import make_normalize, scale
from cifar_jax.optim import Average
from cifar_jax.training import losses, sampling, steps
from cifar_jax.training.recipe import Recipe

CLASSES = 3
EXAMPLES = 10
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (EXAMPLES, 2, 3, 2), dtype=np.uint8)
LABELS = GENERATOR.integers(0, CLASSES, EXAMPLES).astype(np.int32)


class Linear(nn.Module):
  """Softmax regression, after BatchNorm if wanted."""

  batch_norm: bool = False

  @nn.compact
  def __call__(self, images: jax.Array, train: bool, mask: jax.Array | None = None) -> jax.Array:
    pixels = images.reshape(len(images), -1)
    if self.batch_norm:
      pixels = layers.BatchNorm()(pixels, use_running_average=not train, mask=mask)
    return layers.Dense(CLASSES)(pixels)


class Recorder(nn.Module):
  """Keeps the first pixel of every image it was trained on and the dropout mask of each step."""

  batch: int
  history: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    shape = (self.history, self.batch)
    calls = self.variable('batch_stats', 'calls', jnp.zeros, (), jnp.int32)
    seen = self.variable('batch_stats', 'seen', jnp.zeros, shape)
    dropped = self.variable('batch_stats', 'dropped', jnp.zeros, shape)
    if train:
      kept = layers.Dropout(0.5)(jnp.ones(self.batch), deterministic=False)
      seen.value = seen.value.at[calls.value].set(images[:, 0, 0, 0])
      dropped.value = dropped.value.at[calls.value].set(kept)
      calls.value = calls.value + 1
    return layers.Dense(CLASSES)(images.reshape(len(images), -1))


def keep_images(key, example_key, images, indices, epoch) -> jax.Array:
  del key, example_key, indices, epoch
  return scale(images)


def recipe_of(module: nn.Module, **parts: Any) -> Recipe:
  """A recipe over the ten images, plain softmax regression unless told otherwise."""
  plain: dict[str, Any] = {
    'image_shape': IMAGES.shape[1:],
    'optimizer': optax.sgd(0.5),
    'loss': losses.cross_entropy,
    'normalize': make_normalize((0.0,), (1.0,)),
    'augment': keep_images,
    'examples': EXAMPLES,
    'batch_size': 4,
    'drop_remainder': False,
  }
  return Recipe(module, **{**plain, **parts})


def epoch_order(seed: int, examples: int, batch_size: int, drop_remainder: bool):
  parts = {'examples': examples, 'batch_size': batch_size, 'drop_remainder': drop_remainder}
  order = sampling.make_epoch_order(recipe_of(Linear(), **parts))
  return functools.partial(order, steps.random_keys(seed))


class Trainer:
  """The pure steps of one small run, jitted, with the bookkeeping that the loop does."""

  def __init__(
    self,
    module: nn.Module,
    *,
    batch_size: int = 4,
    drop_remainder: bool = False,
    images: np.ndarray = IMAGES,
    labels: np.ndarray = LABELS,
    optimizer: optax.GradientTransformation | None = None,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = losses.cross_entropy,
    augment: Augmentation = keep_images,
    seed: int = 5,
    average: Average | None = None,
  ):
    self.images, self.labels, self.batch_size = images, labels, batch_size
    self.recipe = recipe_of(
      module,
      image_shape=images.shape[1:],
      optimizer=optimizer or optax.sgd(0.5),
      loss=loss,
      augment=augment,
      examples=len(labels),
      batch_size=batch_size,
      drop_remainder=drop_remainder,
      average=average,
    )
    self.per_epoch, self.short = self.recipe.steps_per_epoch, self.recipe.short_last_batch
    self.keys = steps.random_keys(seed)
    self.order = functools.partial(jax.jit(sampling.make_epoch_order(self.recipe)), self.keys)
    self._compiled: dict[int, Any] = {}
    self.start = jax.jit(functools.partial(steps.init_state, self.recipe))(self.keys)

  def dispatch(self, state: steps.TrainState, count: int = 1, images: np.ndarray | None = None):
    """`count` updates of one epoch, unmasked unless the one short batch."""
    if count not in self._compiled:
      function = steps.make_train_steps(self.recipe, count)
      self._compiled[count] = jax.jit(function, static_argnames='masked')
    epoch, position = divmod(int(state.step), self.per_epoch)
    masked = self.short and position + count == self.per_epoch
    chosen = self.images if images is None else images
    arrays = state, chosen, self.labels, self.order(epoch)
    return self._compiled[count](self.keys, *arrays, masked=masked)

  def rows(self, step: int) -> np.ndarray:
    """Which examples update `step` must use: the epoch's permutation, cut, without the fill."""
    epoch, position = divmod(step, self.per_epoch)
    permutation = np.asarray(self.order(epoch))[: len(self.labels)]
    return permutation[position * self.batch_size : (position + 1) * self.batch_size]


def numpy_losses(weights: np.ndarray, bias: np.ndarray, rows: np.ndarray):
  """Pixels, probabilities, cross-entropy and hits of some rows under a linear model, float64."""
  pixels = IMAGES[rows].reshape(len(rows), -1) / 255
  logits = pixels @ weights + bias
  exponentials = np.exp(logits - logits.max(1, keepdims=True))
  probabilities = exponentials / exponentials.sum(1, keepdims=True)
  cross_entropies = -np.log(probabilities[np.arange(len(rows)), LABELS[rows]])
  return pixels, probabilities, cross_entropies, logits.argmax(1) == LABELS[rows]
