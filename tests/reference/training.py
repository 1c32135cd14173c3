"""Twenty updates by the reference, beside twenty by the toolkit on the same images."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from cifar_jax import data
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from tests.reference.input_path import Inputs, RandomKeys, augmented, normalization
from tests.reference.rules import UPDATES, Rule


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What is compared.

  Attributes:
    start: The variables before the first update.
    losses: float64 [updates], mean cross-entropy of each batch, not smoothed.
    end: The variables after the last update.
    test_loss: The mean loss of the test images after the last update.
    test_correct: The number of test images that are classified correctly.
  """

  start: Any
  losses: np.ndarray
  end: Any
  test_loss: float
  test_correct: int


@dataclasses.dataclass(frozen=True)
class Reference:
  """A system, written out.

  Attributes:
    network: A network in plain Flax.
    rule: The rule of its updates.
    inputs: The options of the input path.
    batch_size: The number of rows per update.
    seed: The seed of the run.
    smoothing: The smoothing of the labels in what is minimized; what is reported is plain.
    six_views: Whether the test is over six views of each image, as in airbench94.
    frozen: A function from NumPy images to the maps of a network that is not trained; None without
      one.
  """

  network: nn.Module
  rule: Rule
  inputs: Inputs
  batch_size: int = 16
  seed: int = 0
  smoothing: float = 0.0
  six_views: bool = False
  frozen: Any = None

  def train(self, train: data.Split, test: data.Split, start: Any = None) -> Outcome:
    """Trains on uint8 images; `start` replaces initial parameters of some layers."""
    keys = RandomKeys(self.seed)
    normalize = normalization(self.inputs, train.images)
    if self.frozen is not None:
      maps = self.frozen(normalize(train.images / 255))
      test_inputs = self.frozen(normalize(test.images / 255))
    else:
      test_inputs = normalize(test.images / 255)
    blank = jnp.zeros((1, *test_inputs.shape[1:]))
    variables = jax.jit(functools.partial(self.network.init, train=False))(keys.init, blank)
    params = {k: {**tree, **(start or {}).get(k, {})} for k, tree in variables['params'].items()}
    first = variables = {**variables, 'params': params}
    rule_state = jax.jit(self.rule.init)(variables['params'])
    step_of = jax.jit(self._step)
    per_epoch = -(-len(train) // self.batch_size)
    losses, slow = [], variables
    for step in range(UPDATES):
      epoch, position = divmod(step, per_epoch)
      order = keys.order(epoch, len(train))
      rows = order[position * self.batch_size : (position + 1) * self.batch_size]
      if self.frozen is not None:
        inputs = maps[rows]
      else:
        inputs = augmented(self.inputs, normalize, keys, train.images[rows], rows, step, epoch)
      _, dropout_key = keys.of_step(step)
      variables, rule_state, loss = step_of(
        variables,
        rule_state,
        jnp.asarray(inputs, jnp.float32),
        train.labels[rows],
        dropout_key,
        jnp.int32(step),
      )
      losses.append(float(loss))
      made = step + 1
      if self.rule.lookahead and (made % 5 == 0 or made == UPDATES):
        share = 1.0 if made == UPDATES else 0.95**5 * (made / UPDATES) ** 3
        variables = slow = _mixed(share, 1 - share, slow, variables)
    logits = self._test_logits(variables, np.asarray(test_inputs))
    found = np.asarray(_losses(logits, test.labels, 0.0), np.float64)
    correct = int(np.sum(np.argmax(np.asarray(logits), 1) == test.labels))
    return Outcome(first, np.array(losses), variables, float(found.mean()), correct)

  def _step(
    self,
    variables: Any,
    rule_state: Any,
    inputs: jax.Array,
    labels: jax.Array,
    dropout_key: jax.Array,
    step: jax.Array,
  ) -> tuple[Any, Any, jax.Array]:
    others = {name: tree for name, tree in variables.items() if name != 'params'}

    def mean_loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
      logits, updated = self.network.apply(
        {'params': params, **others},
        inputs,
        train=True,
        rngs={'dropout': dropout_key},
        mutable=['batch_stats'],
      )
      reported = jnp.mean(_losses(logits, labels, 0.0))
      return jnp.mean(_losses(logits, labels, self.smoothing)), (reported, updated)

    (_, (loss, updated)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(
      variables['params']
    )
    params, rule_state = self.rule.update(gradients, rule_state, variables['params'], step)
    return {'params': params, **others, **updated}, rule_state, loss

  def _test_logits(self, variables: Any, inputs: np.ndarray) -> jax.Array:
    apply = jax.jit(functools.partial(self.network.apply, train=False))

    def logits_of(images: np.ndarray) -> jax.Array:
      return apply(variables, jnp.asarray(images, jnp.float32))

    if not self.six_views:
      return logits_of(inputs)
    height, width = inputs.shape[1:3]
    bordered = np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect')
    moved = [bordered[:, d : d + height, d : d + width] for d in (0, 2)]

    def both_ways(images: np.ndarray) -> jax.Array:
      return (logits_of(images) + logits_of(images[:, :, ::-1])) / 2

    return both_ways(inputs) / 2 + (both_ways(moved[0]) + both_ways(moved[1])) / 4


@jax.jit
def _mixed(share: float, rest: float, slow: Any, fast: Any) -> Any:
  return jax.tree.map(lambda s, f: share * s + rest * f, slow, fast)


def _losses(logits: jax.Array, labels: np.ndarray, smoothing: float) -> jax.Array:
  targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), smoothing)
  return optax.softmax_cross_entropy(logits, targets)


def by_toolkit(config: Any, splits: data.Splits, dispatch: int = 1) -> Outcome:
  """The same by the toolkit, fed as `launch.py` does; with `dispatch` updates at a time the losses
  are means over so many.
  """
  from cifar_jax.trainer import cached_features, run_summary

  trainer = build_trainer(config, splits)
  state = trainer.init()
  start = jax.device_get({'params': state.params, 'batch_stats': state.batch_stats})
  as_trained = cached_features.make_substitute(trainer.recipe, run_summary.variables(state))
  feed = make_input_pipeline(trainer, as_trained(splits.train), 0)
  per_epoch = trainer.steps_per_epoch
  losses = []
  try:
    total = rows = 0.0
    for step in range(0, UPDATES, dispatch):
      if step % per_epoch == 0:
        total = rows = 0.0
      masked = trainer.recipe.short_last_batch and step % per_epoch == per_epoch - 1
      state, _ = feed.update(state, step, dispatch, masked)
      sums = jax.device_get(state.metrics.loss)
      losses.append((float(sums.total) - total) / (float(sums.count) - rows))
      total, rows = float(sums.total), float(sums.count)
  finally:
    feed.close()
  test = as_trained(splits.test)
  measured = trainer.evaluate(state, trainer.evaluate.place(test))
  end = jax.device_get({'params': state.params, 'batch_stats': state.batch_stats})
  correct = round(measured['accuracy'] * len(splits.test))
  return Outcome(start, np.array(losses), end, measured['loss'], correct)
