"""The articles' rules as the programs of Keras 2.0 have them, and that of airbench94 in Optax."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

UPDATES = 20


@dataclasses.dataclass(frozen=True)
class Rule:
  """An optimizer, and perhaps what follows each update.

  Attributes:
    init: A function from the parameters to the state.
    update: (gradients, state, params, step) -> (params, state); step int32 [], from 0.
    lookahead: Whether the slow copy of airbench94 is kept and written back.
  """

  init: Callable[[Any], Any]
  update: Callable[[Any, Any, Any, jax.Array], tuple[Any, Any]]
  lookahead: bool = False


def _zeros(params: Any) -> Any:
  return jax.tree.map(jnp.zeros_like, params)


def adam_of_keras(rate: float = 0.001) -> Rule:
  """Keras 2.0: epsilon is added to the root that is not corrected."""
  corrections = [math.sqrt(1 - 0.999**t) / (1 - 0.9**t) for t in range(1, UPDATES + 1)]

  def update(gradients: Any, state: Any, params: Any, step: jax.Array) -> tuple[Any, Any]:
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state[1], gradients)
    now = rate * jnp.array(corrections, jnp.float32)[step]
    return jax.tree.map(lambda p, m, v: p - now * m / (jnp.sqrt(v) + 1e-8), params, m, v), (m, v)

  return Rule(lambda params: (_zeros(params), _zeros(params)), update)


def rmsprop_of_keras(rate: float, decay: float) -> Rule:
  """Keras 2.0, whose `decay` divides the rate by 1 + decay t."""

  def update(gradients: Any, state: Any, params: Any, step: jax.Array) -> tuple[Any, Any]:
    a = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g * g, state, gradients)
    now = rate / (1 + decay * step)
    new = jax.tree.map(lambda p, g, a: p - now * g / (jnp.sqrt(a) + 1e-8), params, gradients, a)
    return new, a

  return Rule(_zeros, update)


def sgd_of_keras(
  rate: float, momentum: float, decay: float, nesterov: bool = False, bounded: str = ''
) -> Rule:
  """Keras 2.0: the rate is inside of the velocity.

  Args:
    rate: The learning rate before any decay.
    momentum: The decay of the velocity per update.
    decay: The number d that divides the rate by 1 + d t.
    nesterov: Whether the step looks ahead.
    bounded: The dense layer whose units keep weights of a norm of at most 3, `max_norm(3)`.
  """

  def update(gradients: Any, state: Any, params: Any, step: jax.Array) -> tuple[Any, Any]:
    now = rate / (1 + decay * step)
    v = jax.tree.map(lambda v, g: momentum * v - now * g, state, gradients)
    if nesterov:
      params = jax.tree.map(lambda p, v, g: p + momentum * v - now * g, params, v, gradients)
    else:
      params = jax.tree.map(jnp.add, params, v)
    if bounded:
      kernel = params[bounded]['kernel']
      norm = jnp.sqrt(jnp.sum(kernel**2, axis=0, keepdims=True))
      kernel = kernel * jnp.clip(norm, 0, 3) / (1e-7 + norm)
      params = {**params, bounded: {**params[bounded], 'kernel': kernel}}
    return params, v

  return Rule(_zeros, update)


def of_optax(transformation: optax.GradientTransformation, lookahead: bool = False) -> Rule:
  def update(gradients: Any, state: Any, params: Any, step: jax.Array) -> tuple[Any, Any]:
    del step
    updates, state = transformation.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  return Rule(transformation.init, update, lookahead)


def airbench94(updates: int, updates_per_epoch: int, rate: float = 1.5) -> Rule:
  """The rule that its author's program has, where the loss is a mean over 1,024 and not a sum.

  A rate of 11.5 for 1,024 (1 + 1 / (1 - 0.85)) summed losses and a decay of 0.0153 for 1,024 of
  them are 1.5 and 0.0153 / 11.5; biases of BatchNorm move 64 times as fast and decay as much as
  all else. The whitening kernel stays; its bias does from the third epoch on. The rate rises from a
  fifth in 23 % of the updates and falls to 0.07 of it.
  """
  peak = int(0.23 * updates)
  decay = 0.0153 / 11.5
  whitening_updates = 3 * updates_per_epoch

  def now(count: jax.Array) -> jax.Array:
    rise = 0.2 + 0.8 * count / peak
    fall = 1 + (0.07 - 1) * (count - peak) / (updates - peak)
    return rate * jnp.where(count < peak, rise, fall)

  def sgd(factor: float, last: int) -> optax.GradientTransformation:
    return optax.chain(
      optax.add_decayed_weights(decay / factor),
      optax.trace(0.85, nesterov=True),
      optax.scale_by_schedule(lambda count: -factor * now(count) * (count < last)),
    )

  def label(path: Any, _: Any) -> str:
    names = [entry.key for entry in path]
    if names[0] == 'whitening':
      return f'whitening {names[1]}'
    return 'norm bias' if names[-1] == 'bias' else 'kernel'

  chains = {
    'whitening kernel': optax.set_to_zero(),
    'whitening bias': sgd(1, whitening_updates),
    'norm bias': sgd(64, updates),
    'kernel': sgd(1, updates),
  }
  labels = functools.partial(jax.tree_util.tree_map_with_path, label)
  return of_optax(optax.multi_transform(chains, labels), lookahead=True)
