"""Optimizers by name: Optax chains, with their options.

An optimizer is a dataclass whose fields are its options and whose `build` makes the chain, beside
the others in `optax_optimizers`, `keras_optimizers` or `muon`; nothing else names it. In their
docstrings lr = the schedule's rate after t updates, T = t + 1, g = gradient, p = parameters.

Groups of parameters may have a rate, a decay, a rule or an end of their own: `parameter_groups`.
"""

import abc
import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any

import optax
from ml_collections import ConfigDict

from cifar_jax.optim import parameter_groups
from cifar_jax.optim.max_norm import keep_max_norm
from cifar_jax.optim.parameter_groups import Group
from cifar_jax.optim.plan import Plan
from cifar_jax.schema.constraints import POSITIVE
from cifar_jax.schema.options import option
from cifar_jax.schema.registry import Registry
from cifar_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(abc.ABC):
  """An optimizer with its options; those here every one has."""

  learning_rate: float
  gradient_clip_norm: float | None = option(None, POSITIVE)(
    'Gradients with a larger global L2 norm are scaled down to it before anything else, weight '
    'decay included, sees them; None: never.'
  )
  max_norm: float | None = option(None, POSITIVE)(
    'The largest norm of the weights of each unit or filter after an update; None: no bound.'
  )
  sam_rho: float | None = option(None, POSITIVE, since=2)(
    'Sharpness-aware minimization: how far uphill from the parameters gradients are taken; None: '
    'it is not used.'
  )

  @abc.abstractmethod
  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The chain, without what the options of all optimizers do.

    Args:
      schedule: Updates made -> learning rate of the next one.
    """


OPTIMIZERS: Registry[Optimizer] = Registry('optimizer')
optimizer = OPTIMIZERS.register


def validate(optimizer_config: ConfigDict | Mapping[str, Any]) -> Optimizer:
  """Reads `config.optimizer` without building anything.

  Args:
    optimizer_config: `name` and the options of the optimizer, None where not set, and `groups`.

  Returns:
    The named optimizer, its options complete.

  Raises:
    UserError: One sentence that names the flag at fault.
  """
  groups, section = _read(optimizer_config)
  for group in groups:
    _optimizer_of(group, section)
  return OPTIMIZERS.resolve(section)


def in_use(optimizer_config: ConfigDict | Mapping[str, Any]) -> dict[str, Optimizer]:
  """The optimizer and that of each group.

  Args:
    optimizer_config: As for `validate`.

  Returns:
    Section of the config, as 'optimizer' or 'optimizer.groups.biases', -> optimizer.
  """
  groups, section = _read(optimizer_config)
  of_groups = {f'optimizer.groups.{group.name}': _optimizer_of(group, section) for group in groups}
  return {'optimizer': validate(optimizer_config), **of_groups}


def _read(
  optimizer_config: ConfigDict | Mapping[str, Any],
) -> tuple[tuple[Group, ...], dict[str, Any]]:
  """The groups, and the options of all else."""
  section = {key: value for key, value in optimizer_config.items() if key != 'groups'}
  return parameter_groups.read(optimizer_config.get('groups')), section


def _optimizer_of(group: Group, section: Mapping[str, Any]) -> Optimizer:
  """The optimizer of a group: that of the section with some options changed, or another one."""
  flag = f'optimizer.groups.{group.name}'
  for key, other in (
    ('learning_rate', 'learning_rate_factor'),
    ('gradient_clip_norm', ''),
    ('sam_rho', ''),
  ):
    if key in group.rule:
      advice = (
        f'; use --config.{flag}.{other}' if other else ', which acts on all gradients at once'
      )
      raise UserError(f'--config.{flag} takes no {key}{advice}')
  of_all = {'gradient_clip_norm': None, 'sam_rho': None}
  inherited = {} if 'name' in group.rule else {**section, **of_all}
  found = OPTIMIZERS.resolve({**inherited, **group.rule}, flag)
  if group.weight_decay_factor == 1:
    return found
  decay = getattr(found, 'weight_decay', None)
  if decay is None:
    raise UserError(f'--config.{flag}.weight_decay_factor has nothing to act on in this rule')
  return dataclasses.replace(found, **{'weight_decay': decay * group.weight_decay_factor})


def learning_rate(optimizer_config: ConfigDict | Mapping[str, Any]) -> float:
  """The base rate for the schedule: `config.optimizer.learning_rate` or the optimizer's default."""
  return float(validate(optimizer_config).learning_rate)


def create(
  optimizer_config: ConfigDict | Mapping[str, Any],
  schedule_over: Callable[[Plan], optax.Schedule],
  plan: Plan,
  traced: Mapping[str, Any] = types.MappingProxyType({}),
) -> optax.GradientTransformation:
  """Builds the optimizer named in `config.optimizer`.

  Args:
    optimizer_config: `name` and the options of the optimizer, None where not set, and `groups`.
    schedule_over: Plan -> the learning rate by number of updates, from `schedules.create`. It
      already contains `config.optimizer.learning_rate`, which is not used again here. Groups with
      `schedule_epochs` have a plan of their own.
    plan: The length of the run.
    traced: Values, as of many runs at once, that take the place of options after all was checked;
      for an optimizer without groups.

  Returns:
    A pure transformation whose state holds arrays only. Always give its `update` the parameters as
    the third argument: weight decay needs them.

  Raises:
    UserError: As `validate`; from its `init`, if a group matches no parameter.
  """
  groups, section = _read(optimizer_config)
  of_rest = dataclasses.replace(validate(optimizer_config), **traced)
  schedule = schedule_over(plan)

  def build(group: Group | None) -> optax.GradientTransformation:
    chosen = of_rest if group is None else _optimizer_of(group, section)
    built = chosen.build(schedule if group is None else schedule_of(group))
    if chosen.max_norm is None:
      return built
    return optax.chain(built, keep_max_norm(chosen.max_norm))

  def schedule_of(group: Group) -> optax.Schedule:
    own = schedule
    if group.schedule_epochs is not None:
      own = schedule_over(plan.over(group.schedule_epochs))
    return lambda count: group.learning_rate_factor * own(count)

  transformation = parameter_groups.partition(groups, build, plan)
  if of_rest.gradient_clip_norm is None:
    return transformation
  clip = optax.clip_by_global_norm(of_rest.gradient_clip_norm)
  if groups:  # the norm is that of the gradients in use
    clip = optax.chain(
      optax.masked(optax.set_to_zero(), parameter_groups.frozen_mask(groups)), clip
    )
  return optax.chain(clip, transformation)
