"""Rules that are Optax's own, by name, with our names of their options.

adabelief   Zhuang et al. (2020): Adam whose second moment is that of g - m.
adadelta    Zeiler (2012).
adagrad     Duchi et al. (2011), the sum of squares from 0.1.
adamax      Kingma and Ba (2015), the infinity norm in place of the second moment.
lamb        You et al. (2020): adamw, each array's step scaled to its norm.
lars        You et al. (2017): sgd, each array's step scaled to `trust` times its norm.
lion        Chen et al. (2023): the sign of an average of m and g, with decoupled decay.
muon        Jordan (2024), `optax.contrib.muon`: kernels by orthogonalised momentum, convolutions'
            as matrices [window and channels, filters]; everything else by nadam.
nadam       Dozat (2016): Adam with Nesterov's momentum.
nadamw      nadam with decoupled decay.
radam       Liu et al. (2020): Adam with a rectified start.
yogi        Zaheer et al. (2018).

Weight decay, where taken, is decoupled and on by default only where it is in Optax; except that of
lars, which is L2. Sharpness-aware minimisation is no rule but an option of all of them,
`sharpness_radius`.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from cifar_jax.schema.registry import Choice

_NAMES = {
  'beta1': 'b1',
  'beta2': 'b2',
  'epsilon': 'eps',
  'momentum': 'momentum',
  'nesterov': 'nesterov',
  'rho': 'rho',
  'trust': 'trust_coefficient',
}


def kernels(params: optax.Params) -> Any:
  """True for kernels; False for biases and for the scale and bias of normalisation layers."""
  return jax.tree.map(lambda array: array.ndim >= 2, params)


def _optax(
  rule: Callable[..., optax.GradientTransformation], mask: str = 'mask'
) -> Callable[..., optax.GradientTransformation]:
  """Optax's constructor with our option names; `mask` is its name of the mask of weight decay."""

  def build(schedule: optax.Schedule, **options: Any) -> optax.GradientTransformation:
    arguments = {_NAMES[name]: value for name, value in options.items() if name in _NAMES}
    if 'weight_decay' in options:
      arguments['weight_decay'] = options['weight_decay']
      decayed = options['weight_decay_mask']
      arguments[mask] = kernels if decayed == 'kernels' else _everything
    return rule(schedule, **arguments)

  return build


def _everything(params: optax.Params) -> Any:
  return jax.tree.map(lambda _: True, params)


def _muon(
  schedule: optax.Schedule,
  momentum: float,
  nesterov: bool,
  weight_decay: float,
  weight_decay_mask: str,
) -> optax.GradientTransformation:
  def matrices(params: optax.Params) -> Any:
    def of(array: jax.Array) -> MuonDimensionNumbers | None:
      last = array.ndim - 1
      return MuonDimensionNumbers(tuple(range(last)), (last,)) if last > 0 else None

    return jax.tree.map(of, params)

  return muon(
    schedule,
    beta=momentum,
    nesterov=nesterov,
    weight_decay=weight_decay,
    adam_weight_decay=weight_decay if weight_decay_mask == 'all' else 0.0,
    muon_weight_dimension_numbers=matrices,
  )


_ADAM = {'learning_rate': 0.001, 'beta1': 0.9, 'beta2': 0.999}


def _decay(weight_decay: float) -> dict[str, Any]:
  return {'weight_decay': weight_decay, 'weight_decay_mask': 'all'}


RULES: dict[str, Choice] = {
  'adabelief': Choice(_optax(optax.adabelief), {**_ADAM, 'epsilon': 1e-16}),
  'adadelta': Choice(_optax(optax.adadelta), {'learning_rate': 1.0, 'rho': 0.9, 'epsilon': 1e-6}),
  'adagrad': Choice(_optax(optax.adagrad), {'learning_rate': 0.01, 'epsilon': 1e-7}),
  'adamax': Choice(_optax(optax.adamax), {**_ADAM, 'epsilon': 1e-8}),
  'lamb': Choice(_optax(optax.lamb), {**_ADAM, 'epsilon': 1e-6, **_decay(0.0)}),
  'lars': Choice(
    _optax(optax.lars, 'weight_decay_mask'),
    {'learning_rate': 1.0, 'momentum': 0.9, 'nesterov': False, 'trust': 0.001, **_decay(0.0)},
  ),
  'lion': Choice(
    _optax(optax.lion), {'learning_rate': 1e-4, 'beta1': 0.9, 'beta2': 0.99, **_decay(0.001)}
  ),
  'muon': Choice(_muon, {'learning_rate': 0.02, 'momentum': 0.95, 'nesterov': True, **_decay(0.0)}),
  'nadam': Choice(_optax(optax.nadam), {**_ADAM, 'epsilon': 1e-8}),
  'nadamw': Choice(_optax(optax.nadamw), {**_ADAM, 'epsilon': 1e-8, **_decay(1e-4)}),
  'radam': Choice(_optax(optax.radam), {**_ADAM, 'epsilon': 1e-8}),
  'yogi': Choice(_optax(optax.yogi), {**_ADAM, 'epsilon': 1e-3}),
}
