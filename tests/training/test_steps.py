"""The pure steps against NumPy: order of the examples, updates, masks, averages, random keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cifar_jax import optim
from cifar_jax.training import losses, sampling, steps
from tests.helpers.optimizers import with_schedule
from tests.helpers.pure_steps import (
  CLASSES,
  EXAMPLES,
  IMAGES,
  LABELS,
  Linear,
  Trainer,
  numpy_losses,
  recipe_of,
)


def test_two_epochs_of_sgd_and_their_averages_by_hand() -> None:
  """Ten examples in batches of 4, 4 and 2: the mean of the last is over its two real rows."""
  trainer = Trainer(Linear())
  state = trainer.start
  weights = np.asarray(state.params['Dense_0']['kernel'], np.float64)
  bias = np.asarray(state.params['Dense_0']['bias'], np.float64)
  sizes = []
  for step in range(6):
    if step % 3 == 0:
      epoch_losses, epoch_hits = [], []
    rows = trainer.rows(step)
    sizes.append(len(rows))
    pixels, probabilities, cross_entropies, hits = numpy_losses(weights, bias, rows)
    difference = (probabilities - np.eye(CLASSES)[LABELS[rows]]) / len(rows)
    weights -= 0.5 * pixels.T @ difference
    bias -= 0.5 * difference.sum(0)
    epoch_losses.extend(cross_entropies)
    epoch_hits.extend(hits)

    state, report = trainer.dispatch(state)
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], weights, atol=2e-6)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], bias, atol=2e-6)
    assert float(report.loss) == pytest.approx(np.mean(epoch_losses), rel=2e-6)
    assert float(report.accuracy) == pytest.approx(np.mean(epoch_hits), rel=1e-7)
    assert state.step == step + 1
  assert sizes == [4, 4, 2, 4, 4, 2]
  means = state.metrics.compute()
  assert len(epoch_losses) == EXAMPLES
  assert float(means['loss']) == pytest.approx(np.mean(epoch_losses), rel=2e-6)
  assert float(means['accuracy']) == pytest.approx(np.mean(epoch_hits), rel=1e-7)


def test_dropped_examples_count_nowhere() -> None:
  trainer = Trainer(Linear(), drop_remainder=True, optimizer=optax.sgd(0.0))
  state = trainer.start
  weights, bias = (np.asarray(state.params['Dense_0'][name]) for name in ('kernel', 'bias'))
  for _ in range(2):
    state, report = trainer.dispatch(state)
  rows = np.asarray(trainer.order(0))[:8]
  assert float(report.loss) == pytest.approx(
    np.mean(numpy_losses(weights, bias, rows)[2]), rel=2e-6
  )


@pytest.mark.parametrize('batch_norm', [False, True])
def test_padded_rows_have_no_influence(batch_norm) -> None:
  """The short batch is filled with the epoch's first examples; their pixels may be anything."""
  trainer = Trainer(Linear(batch_norm), optimizer=optax.sgd(0.5, momentum=0.9))
  state, _ = trainer.dispatch(trainer.start)
  state, _ = trainer.dispatch(state)
  order = np.asarray(trainer.order(0))
  expected = trainer.dispatch(state)

  padding = IMAGES.copy()
  padding[order[10:]] = 255 - padding[order[10:]]
  jax.tree.map(np.testing.assert_array_equal, trainer.dispatch(state, images=padding), expected)

  real = IMAGES.copy()
  real[order[9]] = 255 - real[order[9]]
  changed, _ = trainer.dispatch(state, images=real)
  assert not np.array_equal(
    changed.params['Dense_0']['kernel'], expected[0].params['Dense_0']['kernel']
  )
  if batch_norm:  # the control: the same comparison sees a real row's influence on the averages
    moving, moved = (s.batch_stats['BatchNorm_0']['mean'] for s in (expected[0], changed))
    assert not np.array_equal(moving, moved)


def test_batch_norm_of_the_short_batch_by_hand() -> None:
  """Mean and variance of its two real rows alone enter the running averages (momentum 0.99)."""
  trainer = Trainer(Linear(batch_norm=True))
  state, _ = trainer.dispatch(trainer.start)
  state, _ = trainer.dispatch(state)
  before = {k: np.asarray(v, np.float64) for k, v in state.batch_stats['BatchNorm_0'].items()}
  state, _ = trainer.dispatch(state)
  pixels = IMAGES[trainer.rows(2)].reshape(2, -1) / 255
  after = state.batch_stats['BatchNorm_0']
  np.testing.assert_allclose(
    after['mean'], 0.99 * before['mean'] + 0.01 * pixels.mean(0), rtol=1e-5
  )
  np.testing.assert_allclose(after['var'], 0.99 * before['var'] + 0.01 * pixels.var(0), rtol=1e-5)


def test_padded_row_with_an_infinite_loss_has_no_influence() -> None:
  """A loss may be infinite, as where a class is ruled out; zero times infinity is not zero."""
  labels = LABELS.copy()
  order = np.asarray(Trainer(Linear()).order(0))
  labels[order[0]] = CLASSES  # padding of the short batch; never a real row of it

  def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    finite = losses.cross_entropy(logits, jnp.minimum(labels, CLASSES - 1))
    return jnp.where(labels == CLASSES, jnp.inf, finite)

  trainer = Trainer(Linear(), labels=labels, loss=loss)
  last = trainer.start.replace(step=jnp.int32(2))
  state, report = trainer.dispatch(last)
  assert np.isfinite(report.loss)
  assert np.isfinite(state.params['Dense_0']['kernel']).all()
  assert state.bad_step == -1


def test_bad_step_is_the_first_one() -> None:
  """A loss of NaN for one of ten examples: once per epoch, in the step that the order says."""
  labels = np.zeros(EXAMPLES, np.int32)
  labels[6] = 1

  def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.where(labels == 1, jnp.nan, jnp.sum(logits, -1))

  trainer = Trainer(Linear(), labels=labels, loss=loss, optimizer=optax.set_to_zero())
  state, found = trainer.start, []
  for _ in range(9):
    state, report = trainer.dispatch(state)
    assert report.bad_step == state.bad_step
    found.append(int(state.bad_step))
  first = next(step for step in range(3) if 6 in trainer.rows(step))
  assert found == [-1] * first + [first] * (9 - first)


def test_bad_step_sees_parameters_that_overflow_before_the_loss_does() -> None:
  trainer = Trainer(
    Linear(), loss=lambda logits, _: 1e20 * jnp.sum(logits, -1), optimizer=optax.sgd(1e20)
  )
  state, report = trainer.dispatch(trainer.start)
  assert np.isfinite(report.loss)
  assert state.bad_step == 0


@pytest.mark.parametrize('rule', sorted(optim.OPTIMIZERS.keys() - {'airbench_muon'}))
def test_state_is_arrays_only_and_keeps_its_types(rule) -> None:
  """So that it can be donated, scanned and saved, and the second step needs no second program."""
  optimizer = with_schedule(
    {'name': rule, 'learning_rate': 0.1, 'gradient_clip_norm': 1.0}, lambda _: jnp.float32(0.1)
  )
  recipe = recipe_of(Linear(), optimizer=optimizer, drop_remainder=True)
  step = functools.partial(steps.make_train_steps(recipe, 1), masked=False)

  def run(keys, images, labels):
    start = steps.init_state(recipe, keys)
    after, _ = step(keys, start, images, labels, sampling.make_epoch_order(recipe)(keys, 0))
    return start, after

  start, after = jax.eval_shape(run, steps.random_keys(5), IMAGES, LABELS)
  assert jax.tree.structure(after) == jax.tree.structure(start)
  types = [
    [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(state)]
    for state in (start, after)
  ]
  assert types[0] == types[1]
  assert {leaf.dtype for leaf in jax.tree.leaves(start.params)} == {jnp.dtype('float32')}
  assert start.step.dtype == start.bad_step.dtype == jnp.int32


def test_initial_parameters_follow_from_the_seed_alone() -> None:
  trainers = [
    Trainer(Linear(), seed=1),
    Trainer(Linear(), seed=1, batch_size=2, drop_remainder=True),
    Trainer(Linear(), seed=2),
  ]
  one, same, other = (trainer.start.params['Dense_0']['kernel'] for trainer in trainers)
  np.testing.assert_array_equal(one, same)
  assert not np.array_equal(one, other)
