"""Groups of parameters with a learning rate, a decay, a rule or an end of their own.

A group takes the parameters whose path, as 'Group_0/Conv_1/kernel', its regular expression matches
as a whole. What no group takes follows `config.optimizer` itself.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cifar_jax.optim.plan import Plan
from cifar_jax.schema.constraints import NOT_NEGATIVE, POSITIVE, regular_expression
from cifar_jax.schema.options import REQUIRED, option, options_of
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

_REST = ''  # label of what no group takes; no group can be called so
_PATTERN = regular_expression('a regular expression over paths of parameters', ('.*/bias',))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """A group of parameters with a rule of its own.

  Attributes:
    name: Its key in `config.optimizer.groups`.
    rule: Options of the optimizer that differ from those of the rest, perhaps its name.
  """

  name: str
  pattern: str = option(REQUIRED, _PATTERN)(
    "A regular expression that matches whole paths of parameters, such as 'Group_0/Conv_1/kernel'."
  )
  learning_rate_factor: float = option(1.0, NOT_NEGATIVE)('The factor of the learning rate.')
  weight_decay_factor: float = option(1.0, NOT_NEGATIVE)(
    "The factor of the optimizer's weight_decay."
  )
  schedule_epochs: float | None = option(None, POSITIVE, 'epochs')(
    'The number of epochs over which the schedule is spread; None: those of the run.'
  )
  frozen_from_epoch: float | None = option(None, NOT_NEGATIVE, 'epochs')(
    'The epoch from which on the group is no longer updated; 0: it is never updated; None: it '
    'always is.'
  )
  rule: Mapping[str, Any]


def read(groups_config: Mapping[str, Mapping[str, Any]] | None) -> tuple[Group, ...]:
  """Reads `config.optimizer.groups`; the options of rules are left to whoever builds them.

  Raises:
    UserError: An impossible value; the message names the flag.
  """
  groups = []
  for name, section in (groups_config or {}).items():
    flag = f'optimizer.groups.{name}'
    if not isinstance(section, Mapping) and not hasattr(section, 'items'):
      raise UserError(f"--config.{flag} must hold a 'pattern' and options, not {section!r}")
    rule = {key: value for key, value in section.items() if value is not None}
    options = options_of(Group)
    own = {key: rule.pop(key) for key in options if key in rule}
    for key, known in options.items():
      if key in own or known.default is REQUIRED:
        known.constraint.check(f'{flag}.{key}', own.get(key))
    groups.append(Group(name=name, rule=rule, **own))
  return tuple(groups)


def label(groups: Sequence[Group], params: optax.Params) -> Any:
  """A tree like `params` with the name of each array's group, '' for none.

  Raises:
    UserError: a group matches nothing, or two match the same array.
  """
  paths = jax.tree.map_with_path(
    lambda path, _: jax.tree_util.keystr(path, simple=True, separator='/'), params
  )
  every = jax.tree.leaves(paths)
  for group in groups:
    if not any(re.fullmatch(group.pattern, path) for path in every):
      raise UserError(
        f'--config.optimizer.groups.{group.name}.pattern={group.pattern} matches no parameter'
        f'{did_you_mean(group.pattern, every)}; they are {", ".join(every)}'
      )

  def name_of(path: str) -> str:
    names = [group.name for group in groups if re.fullmatch(group.pattern, path)]
    if len(names) > 1:
      raise UserError(
        f'--config.optimizer.groups: {" and ".join(names)} both match {path}; make the patterns '
        'disjoint'
      )
    return names[0] if names else _REST

  return jax.tree.map(name_of, paths)


def partition(
  groups: Sequence[Group],
  build: Callable[[Group | None], optax.GradientTransformation],
  plan: Plan,
) -> optax.GradientTransformation:
  """One transformation out of those of the groups and of the rest.

  Args:
    groups: The groups that `read` returned.
    build: A function from a group to its rule, learning rate included; from None to that of the
      rest.
    plan: The length of the run.

  Returns:
    `build(None)` itself if there are no groups. Gradients of what is always frozen are not used, so
    the compiler leaves their computation out.
  """
  if not groups:
    return build(None)
  chains = {_REST: build(None)}
  for group in groups:
    if group.frozen_from_epoch == 0:
      chains[group.name] = optax.set_to_zero()
      continue
    chains[group.name] = build(group)
    if group.frozen_from_epoch is not None:
      updates = plan.nearest_step(group.frozen_from_epoch)
      chains[group.name] = optax.chain(chains[group.name], _until(updates))
  return optax.partition(chains, lambda params: label(groups, params))


def frozen_mask(groups: Sequence[Group]) -> Callable[[optax.Params], Any]:
  """Returns params -> a tree of booleans, True for what is always frozen."""
  frozen = {group.name for group in groups if group.frozen_from_epoch == 0}
  return lambda params: jax.tree.map(lambda name: name in frozen, label(groups, params))


class _CountState(NamedTuple):
  updates_made: jax.Array


def _until(updates: int) -> optax.GradientTransformation:
  """Lets the first `updates` updates pass and makes the others 0."""

  def init(params: optax.Params) -> _CountState:
    del params
    return _CountState(jnp.zeros([], jnp.int32))

  def update(
    gradients: optax.Updates, state: _CountState, params: optax.Params | None = None
  ) -> tuple[optax.Updates, _CountState]:
    del params
    on = state.updates_made < updates
    passed = jax.tree.map(lambda g: jnp.where(on, g, 0), gradients)
    return passed, _CountState(optax.safe_increment(state.updates_made))

  return optax.GradientTransformation(init, update)
