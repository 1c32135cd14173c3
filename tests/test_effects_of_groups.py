"""Every option of a group of parameters changes training, alone in a config in which it acts."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cifar_jax.optim import parameter_groups
from cifar_jax.schema.options import options_of
from tests.helpers.effects import COSINE, Effects, Outcome, made_in, same


@pytest.fixture(scope='module')
def effects(tmp_path_factory) -> Iterator[Effects]:
  with made_in(tmp_path_factory.mktemp('effects')) as found:
    yield found


KERNELS: Mapping[str, Any] = {'pattern': '.*/kernel', 'weight_decay': 0.1}
GROUPED: dict[str, Any] = {
  'pattern': '.*/bias',
  'learning_rate_factor': 0.5,
  'weight_decay_factor': 0.5,
  'schedule_epochs': 0.5,
  'frozen_from_epoch': 0.4,
  # Of the rule:
  'name': 'keras_rmsprop',
  'momentum': 0.5,
  'weight_decay': 0.3,
  'max_norm': 0.1,
}


@pytest.mark.parametrize(
  'option',
  [
    pytest.param(
      option, marks=() if option in ('frozen_from_epoch', 'name') else pytest.mark.thorough
    )
    for option in sorted(GROUPED)
  ],
)
def test_an_option_of_a_group(effects, option) -> None:
  group = {**KERNELS, option: GROUPED[option]}
  if option == 'name':
    del group['weight_decay']
  before = effects({**COSINE, 'optimizer.groups': {'some': KERNELS}})
  after = effects({**COSINE, 'optimizer.groups': {'some': group}})
  assert isinstance(after, Outcome), after
  assert not same(before, after)


def test_every_option_of_a_group_is_here() -> None:
  assert set(options_of(parameter_groups.Group)) <= set(GROUPED)
