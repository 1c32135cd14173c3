"""Optimizers by name: Optax chains, with their options.

lr = the schedule's rate after t updates, T = t + 1, g = gradient, p = parameters:

sgd            v <- momentum v + g ; p <- p - lr v, with nesterov p <- p - lr (g + momentum v).
               The rate is outside the velocity, as in PyTorch and Optax: a new rate acts on the
               whole velocity at once. weight_decay is coupled (L2), as in torch.optim.SGD:
               g + weight_decay p takes the place of g.
rmsprop        a <- rho a + (1 - rho) g^2 ; p <- p - lr g / sqrt(a + epsilon). Optax's rule: epsilon
               inside the root.
adam           Kingma and Ba (2015), both moments bias-corrected before epsilon is added.
adamw          adam with decoupled weight decay (Loshchilov and Hutter, 2019):
               p <- p - lr (direction + weight_decay p).
airbench_muon  Muon (Jordan, 2024) as in airbench94_muon, for kernels only: see `muon`.

keras_sgd, keras_rmsprop and keras_adam, the rules of the Keras releases of 2017, are in
`keras_rules`; lamb, lion, muon and others, Optax's own, in `optax_rules`. Rules for which
weight_decay has meant both L2 and decoupled decay do not take it.

Every rule takes gradient_clip_norm: gradients with a larger global norm are scaled down to it
before anything else, weight decay included, sees them. Every rule takes max_norm, a bound on the
kernels that each update ends with: `max_norm`; and sharpness_radius, which changes where gradients
are taken: `gradients.compute_gradients`.

Groups of parameters may have a rate, a decay, a rule or an end of their own: `parameter_groups`.

A new rule is a function here and a line in `RULES`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optax
from ml_collections import ConfigDict

from cifar_jax.optim import keras_optimizers, optax_optimizers, parameter_groups
from cifar_jax.optim.max_norm import keep_max_norm
from cifar_jax.optim.muon import airbench_muon
from cifar_jax.optim.parameter_groups import Group
from cifar_jax.optim.plan import Plan
from cifar_jax.schema.registry import (
  BELOW_ONE,
  BOOLEAN,
  NOT_NEGATIVE,
  POSITIVE,
  Check,
  Choice,
  resolve,
)
from cifar_jax.utils.errors import UserError

_DECAYED = {'all': None, 'kernels': optax_optimizers.kernels}


def _sgd(
  schedule: optax.Schedule,
  momentum: float,
  nesterov: bool,
  weight_decay: float,
  weight_decay_mask: str,
) -> optax.GradientTransformation:
  return optax.chain(
    optax.add_decayed_weights(weight_decay, _DECAYED[weight_decay_mask])
    if weight_decay
    else optax.identity(),
    keras_optimizers.momentum_trace(momentum, nesterov),
    optax.scale_by_learning_rate(schedule),
  )


def _rmsprop(schedule: optax.Schedule, rho: float, epsilon: float) -> optax.GradientTransformation:
  return optax.rmsprop(schedule, decay=rho, eps=epsilon)


def _adam(
  schedule: optax.Schedule, beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
  return optax.adam(schedule, beta1, beta2, epsilon)


def _adamw(
  schedule: optax.Schedule,
  beta1: float,
  beta2: float,
  epsilon: float,
  weight_decay: float,
  weight_decay_mask: str,
) -> optax.GradientTransformation:
  return optax.adamw(
    schedule,
    beta1,
    beta2,
    epsilon,
    weight_decay=weight_decay,
    mask=_DECAYED[weight_decay_mask],
  )


_ADAM = {'learning_rate': 0.001, 'beta1': 0.9, 'beta2': 0.999, 'epsilon': 1e-8}
_RMSPROP = {'learning_rate': 0.001, 'rho': 0.9, 'epsilon': 1e-8}
_SGD = {'learning_rate': 0.01, 'momentum': 0.0, 'nesterov': False}
_COMMON = {'gradient_clip_norm': None, 'max_norm': None, 'sharpness_radius': None}

RULES: dict[str, Choice] = {
  'sgd': Choice(_sgd, {**_SGD, 'weight_decay': 0.0, 'weight_decay_mask': 'all', **_COMMON}),
  'rmsprop': Choice(_rmsprop, {**_RMSPROP, **_COMMON}),
  'adam': Choice(_adam, {**_ADAM, **_COMMON}),
  'adamw': Choice(_adamw, {**_ADAM, 'weight_decay': 1e-4, 'weight_decay_mask': 'all', **_COMMON}),
  'keras_sgd': Choice(keras_optimizers.keras_sgd, {**_SGD, **_COMMON}),
  'keras_rmsprop': Choice(keras_optimizers.keras_rmsprop, {**_RMSPROP, **_COMMON}),
  'keras_adam': Choice(keras_optimizers.keras_adam, {**_ADAM, **_COMMON}),
  **{
    name: Choice(choice.build, {**choice.options, **_COMMON})
    for name, choice in optax_optimizers.RULES.items()
  },
  'airbench_muon': Choice(
    airbench_muon, {'learning_rate': 0.24, 'momentum': 0.6, 'nesterov': True, **_COMMON}
  ),
}

CHECKS: dict[str, Check] = {
  'learning_rate': POSITIVE,
  'momentum': BELOW_ONE,
  'nesterov': BOOLEAN,
  'rho': BELOW_ONE,
  'beta1': BELOW_ONE,
  'beta2': BELOW_ONE,
  'epsilon': POSITIVE,
  'trust': POSITIVE,
  'weight_decay': NOT_NEGATIVE,
  'weight_decay_mask': Check(
    lambda value: value in _DECAYED, ' or '.join(repr(name) for name in _DECAYED)
  ),
  'gradient_clip_norm': POSITIVE,
  'max_norm': POSITIVE,
  'sharpness_radius': POSITIVE,
}


Options = tuple[Choice, dict[str, Any]]


def validate(optimizer_config: ConfigDict | Mapping[str, Any]) -> Options:
  """Reads `config.optimizer` without building anything.

  Args:
    optimizer_config: `name`, `learning_rate` and the options of the rule, None where not set, and
      `groups`.

  Returns:
    The named rule and its complete options.

  Raises:
    UserError: one sentence that names the flag at fault.
  """
  groups, section = _read(optimizer_config)
  for group in groups:
    _rule_of(group, section)
  return resolve('optimizer', section, RULES, CHECKS)


def options_in_use(optimizer_config: ConfigDict | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Complete options of the rule and of the rule of each group.

  Args:
    optimizer_config: as for `validate`.

  Returns:
    Section of the config, as 'optimizer' or 'optimizer.groups.biases', -> options.
  """
  groups, section = _read(optimizer_config)
  of_groups = {f'optimizer.groups.{group.name}': _rule_of(group, section)[1] for group in groups}
  return {'optimizer': validate(optimizer_config)[1], **of_groups}


def _read(
  optimizer_config: ConfigDict | Mapping[str, Any],
) -> tuple[tuple[Group, ...], dict[str, Any]]:
  """The groups, and the options of all else."""
  section = {key: value for key, value in optimizer_config.items() if key != 'groups'}
  return parameter_groups.read(optimizer_config.get('groups')), section


def _rule_of(group: Group, section: Mapping[str, Any]) -> Options:
  """The rule of a group: that of the section with some options changed, or another one."""
  flag = f'optimizer.groups.{group.name}'
  for option, other in (
    ('learning_rate', 'learning_rate_factor'),
    ('gradient_clip_norm', ''),
    ('sharpness_radius', ''),
  ):
    if option in group.rule:
      advice = (
        f'; use --config.{flag}.{other}' if other else ', which acts on all gradients at once'
      )
      raise UserError(f'--config.{flag} takes no {option}{advice}')
  of_all = {'gradient_clip_norm': None, 'sharpness_radius': None}
  inherited = {} if 'name' in group.rule else {**section, **of_all}
  rule, options = resolve(flag, {**inherited, **group.rule}, RULES, CHECKS)
  if group.weight_decay_factor != 1:
    if 'weight_decay' not in options:
      raise UserError(f'--config.{flag}.weight_decay_factor has nothing to act on in this rule')
    options['weight_decay'] *= group.weight_decay_factor
  return rule, options


def learning_rate(optimizer_config: ConfigDict | Mapping[str, Any]) -> float:
  """The base rate for the schedule: `config.optimizer.learning_rate` or the rule's default."""
  _, options = validate(optimizer_config)
  return float(options['learning_rate'])


def create(
  optimizer_config: ConfigDict | Mapping[str, Any],
  schedule_over: Callable[[Plan], optax.Schedule],
  plan: Plan,
) -> optax.GradientTransformation:
  """Builds the optimizer named in `config.optimizer`.

  Args:
    optimizer_config: `name` and the options of the rule, None where not set, and `groups`.
    schedule_over: Plan -> the learning rate by number of updates, from `schedules.create`. It
      already contains `config.optimizer.learning_rate`, which is not used again here. Groups with
      `schedule_epochs` have a plan of their own.
    plan: The length of the run.

  Returns:
    A pure transformation whose state holds arrays only. Always give its `update` the parameters as
    the third argument: weight decay needs them.

  Raises:
    UserError: as `validate`; from its `init`, if a group matches no parameter.
  """
  groups, section = _read(optimizer_config)
  rule, options = validate(optimizer_config)
  clip_norm = options['gradient_clip_norm']
  schedule = schedule_over(plan)

  def build(group: Group | None) -> optax.GradientTransformation:
    chosen, values = (rule, options) if group is None else _rule_of(group, section)
    arguments = {k: v for k, v in values.items() if k not in ('learning_rate', *_COMMON)}
    built = chosen.build(schedule if group is None else schedule_of(group), **arguments)
    limit = values['max_norm']
    return built if limit is None else optax.chain(built, keep_max_norm(limit))

  def schedule_of(group: Group) -> optax.Schedule:
    own = schedule
    if group.schedule_epochs is not None:
      own = schedule_over(plan.over(group.schedule_epochs))
    return lambda count: group.learning_rate_factor * own(count)

  transformation = parameter_groups.partition(groups, build, plan)
  if clip_norm is None:
    return transformation
  clip = optax.clip_by_global_norm(clip_norm)
  if groups:  # the norm is that of the gradients in use
    clip = optax.chain(
      optax.masked(optax.set_to_zero(), parameter_groups.frozen_mask(groups)), clip
    )
  return optax.chain(clip, transformation)
