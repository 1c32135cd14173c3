"""Every option of each rule, schedule and average changes training."""

from collections.abc import Iterator
from typing import Any

import pytest

from cifar_jax import optim
from cifar_jax.schema.options import options_of
from configs import base
from tests.helpers.effects import EVERY_STEP, Case, Effects, Outcome, made_in, same

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')

# What each option of a rule, schedule or average is changed to, and what it acts among.
CHOSEN: dict[str, Case] = {
  'optimizer.learning_rate': Case(0.003),
  'optimizer.momentum': Case(0.5),
  'optimizer.nesterov': Case('other', {'optimizer.momentum': 0.7}),
  'optimizer.rho': Case(0.5),
  'optimizer.beta1': Case(0.5),
  'optimizer.beta2': Case(0.5),
  'optimizer.epsilon': Case(0.5),
  'optimizer.trust': Case(0.1),
  'optimizer.weight_decay': Case(0.3),
  'optimizer.weight_decay_mask': Case('kernels', {'optimizer.weight_decay': 0.5}),
  'optimizer.gradient_clip_norm': Case(0.01),
  'optimizer.max_norm': Case(0.1),
  'optimizer.sam_rho': Case(0.5),
  'optimizer.coefficients': Case((2.0, -1.5, 0.5)),
  'optimizer.renormalize_every': Case(2),
  'schedule.boundaries': Case((0.7,)),
  'schedule.factors': Case((0.5,)),
  'schedule.factor': Case(0.2),
  'schedule.warmup_epochs': Case(0.7),
  'schedule.peak_epoch': Case(0.7),
  'schedule.start_factor': Case(0.6),
  'schedule.end_factor': Case(0.5),
  'schedule.decay': Case(2.0),
  'weight_averaging.every_steps': Case(2),
  'weight_averaging.decay': Case(0.1, EVERY_STEP),
  'weight_averaging.power': Case(1.0, EVERY_STEP),
  'weight_averaging.start_epoch': Case(0.7, EVERY_STEP),
  'weight_averaging.beta': Case(0.5),
}
FIRST_VALUES = {
  'schedule.boundaries': (0.4,),
  'schedule.factor': 0.5,
  'schedule.decay': 1.0,
  'schedule.warmup_epochs': 0.4,
  'schedule.peak_epoch': 0.4,
  'weight_averaging.start_epoch': 0.4,
}
ALL_CHOICES = [
  (section, name, option)
  for section, registry in optim.REGISTRIES.items()
  for name, choice in registry.items()
  for option in options_of(choice)
]


@pytest.fixture(scope='module')
def effects(tmp_path_factory) -> Iterator[Effects]:
  with made_in(tmp_path_factory.mktemp('effects')) as found:
    yield found


@pytest.mark.slow
@pytest.mark.parametrize(('section', 'name', 'option'), ALL_CHOICES)
def test_an_option_of_each_choice(effects, section, name, option) -> None:
  choice = options_of(optim.REGISTRIES[section][name])
  case = CHOSEN[f'{section}.{option}']
  value = case.value
  if value == 'other':
    value = not choice[option].default
  context: dict[str, Any] = {f'{section}.name': name}
  if section == 'optimizer':
    context['optimizer.learning_rate'] = 0.01
  if name == 'airbench_muon':  # for kernels only
    context['optimizer.groups'] = {'biases': {'pattern': '.*/bias', 'name': 'sgd'}}
  for other in choice:
    flag = f'{section}.{other}'
    if flag in FIRST_VALUES:
      context[flag] = FIRST_VALUES[flag]
    if flag in case.context and other != option:
      context[flag] = case.context[flag]
  # The first updates of radam are not rectified: its second moment counts from the sixth on.
  context['epochs'], steps = (4, 12) if name == 'radam' else (1, 3)
  before = effects(context, steps)
  after = effects({**context, f'{section}.{option}': value}, steps)
  assert isinstance(after, Outcome), after
  assert not same(before, after)


def test_every_option_of_each_choice_is_here() -> None:
  assert {f'{section}.{option}' for section, _, option in ALL_CHOICES} == set(CHOSEN)
  config, sections = base.get_config(), optim.REGISTRIES
  named = {f'{section}.{option}' for section in sections for option in config[section]}
  assert set(CHOSEN) == named - {f'{section}.name' for section in sections} - {'optimizer.groups'}
