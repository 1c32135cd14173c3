"""What is chosen by name and its options, on a registry of two pizzas."""

import dataclasses

import pytest

from cifar_jax import models, optim
from cifar_jax.models.registry import find
from cifar_jax.optim.parameter_groups import Group
from cifar_jax.schema.constraints import BELOW_ONE, POSITIVE, integer
from cifar_jax.schema.options import REQUIRED, option, options_of
from cifar_jax.schema.registry import Registry
from cifar_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pizza:
  shared: float | None = option(None, POSITIVE)('Of all.')


PIZZAS: Registry[Pizza] = Registry('pizza')


@PIZZAS.register('plain')
class Plain(Pizza):
  """Without anything."""

  salt: float = option(0.5, BELOW_ONE)('How much.')


@PIZZAS.register('olives')
class Olives(Pizza):
  salt: float = option(0.25, BELOW_ONE)('How much of it.')
  olives: int = option(REQUIRED, integer(1, 9), 'olives')('How many.')


def test_a_choice_with_its_defaults() -> None:
  assert PIZZAS.resolve({'name': 'plain', 'salt': None, 'olives': None}) == Plain(salt=0.5)
  assert PIZZAS.resolve({'name': 'olives', 'olives': 3, 'shared': 2.0}) == Olives(
    olives=3, salt=0.25, shared=2.0
  )


def test_options_of_all_choices_are_those_first_declared() -> None:
  assert list(options_of(Olives)) == ['salt', 'olives', 'shared']
  found = PIZZAS.options()
  assert list(found) == ['salt', 'shared', 'olives']
  assert (found['salt'].default, found['salt'].doc) == (0.5, 'How much.')
  assert (found['olives'].default, found['olives'].unit) == (REQUIRED, 'olives')


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({}, '--config.pizza.name is not set; it is one of olives, plain'),
    (
      {'name': 'Plane'},
      "--config.pizza.name 'Plane' is unknown; did you mean 'plain'? it is one of olives, plain",
    ),
    ({'name': 'olives'}, "pizza 'olives' needs --config.pizza.olives"),
    (
      {'name': 'plain', 'olives': 1},
      "pizza 'plain' takes no --config.pizza.olives; it takes salt, shared; "
      '--config.pizza.olives=None unsets it',
    ),
    (
      {'name': 'olives', 'olives': 10},
      '--config.pizza.olives must be a whole number from 1 to 9, not 10',
    ),
    ({'name': 'plain', 'shared': 0}, '--config.pizza.shared must be a number above 0, not 0'),
  ],
)
def test_mistakes(section, message) -> None:
  with pytest.raises(UserError) as error:
    PIZZAS.resolve(section)
  assert str(error.value) == message
  if section:
    with pytest.raises(UserError, match=r'--config\.menu\.pizza\.'):
      PIZZAS.resolve(section, 'menu.pizza')


CHOICES = [choice for registry in optim.REGISTRIES.values() for choice in registry.values()]


NETWORKS = [choice for name in models.names() if isinstance(choice := find(name), type)]


@pytest.mark.parametrize('choice', [*CHOICES, *NETWORKS, Group], ids=lambda choice: choice.__name__)
def test_declarations_hold_together(choice) -> None:
  """Defaults are allowed, examples are what they are said to be, sentences are sentences."""
  for name, known in options_of(choice).items():
    if known.default not in (None, REQUIRED):
      known.constraint.check(name, known.default)
    assert all(known.constraint.test(value) for value in known.constraint.allowed), name
    assert not any(known.constraint.test(value) for value in known.constraint.refused), name
    assert known.doc[0].isupper(), name
    assert known.doc.endswith('.'), name


@pytest.mark.parametrize('section', optim.REGISTRIES)
def test_an_option_has_one_type_whoever_takes_it(section) -> None:
  registry = optim.REGISTRIES[section]
  kinds = {name: known.constraint.kind for name, known in registry.options().items()}
  for choice in registry.values():
    for name, known in options_of(choice).items():
      assert known.constraint.kind is kinds[name], name
      assert known.constraint.kind in (int, float, bool, str, tuple)
