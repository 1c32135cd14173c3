"""Every option that claims to change training does, and every one that claims not to does not.

Each is changed alone in a config in which it acts; the first three updates are made by the parts of
a real run. Options that act at the end of an epoch are in test_effects_of_epochs.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import pytest

from cifar_jax import config as configs
from configs import base
from tests.helpers.effects import (
  CONVOLUTION,
  COSINE,
  EVERY_STEP,
  Case,
  Effects,
  Outcome,
  made_in,
  same,
)

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


PHOTOGRAPHS = {
  'data.name': 'folder',
  'data.dir': 'photographs',
  'data.folder.image_size': (8, 8),
  'data.validation': '8',
}
STREAMED = {**PHOTOGRAPHS, 'data.placement': 'host'}
DAMAGED = {**PHOTOGRAPHS, 'data.dir': 'damaged', 'data.validation': '7'}
DRAWN = {'augment.flip': 'random', 'augment.crop_padding': 1, 'data.normalize': 'channel'}
SHORT = {'batch_size': 10}  # of 24 images: batches of 10, 10 and 4
WHITENED = {'model.widths': (4,), 'model.block': ('conv3',), 'whitening.layer': 'Conv_0'}
SWA = {'weight_averaging.name': 'swa', **EVERY_STEP}
LOOKAHEAD = {'weight_averaging.name': 'lookahead', **EVERY_STEP}
RANDAUGMENT = {'augment.policy': 'randaugment'}
MUON = {  # for kernels only
  'optimizer.name': 'airbench_muon',
  'optimizer.groups': {'biases': {'pattern': '.*/bias', 'name': 'sgd'}},
}

# Other losses or parameters.
ACTS: dict[str, Case] = {
  'seed': Case(1),
  'rng': Case('rbg', DRAWN),
  'epochs': Case(2, COSINE),
  'max_steps': Case(2, {**COSINE, 'epochs': 2}, steps=2),
  'batch_size': Case(6),
  'data.name': Case('two', {'data.dir': '.', 'data.name': 'one'}),
  'data.dir': Case('two.npz'),
  'data.validation': Case('0.4'),
  'data.validation_from': Case('last'),
  'data.keep_duplicates_together': Case(True, {'data.dir': 'twins.npz'}),
  'data.keep_groups_together': Case(True, {'data.dir': 'grouped.npz'}),
  'data.stratified': Case(True),
  'data.folds': Case(3),
  'data.fold': Case(1, {'data.folds': 4}),
  'data.sampling': Case('balanced'),
  'data.drop_remainder': Case(True, {**SHORT, 'epochs': 2}),
  'data.channels': Case(1),
  'data.pad_to': Case(10),
  'data.normalize': Case('channel'),
  'data.mean': Case((0.5,)),
  'data.std': Case((0.25, 0.3, 0.2)),
  'data.zca_images': Case(9, {'data.normalize': 'zca'}),
  'data.zca_epsilon': Case(0.1, {'data.normalize': 'zca'}),
  'data.folder.image_size': Case((8, 9), PHOTOGRAPHS),
  'data.folder.resize': Case('crop', PHOTOGRAPHS),
  'data.folder.interpolation': Case('lanczos', PHOTOGRAPHS),
  'data.folder.damaged': Case('skip', DAMAGED),
  'data.folder.group_pattern': Case(
    r'(\d)\.',
    {**PHOTOGRAPHS, 'data.keep_groups_together': True, 'data.folder.group_pattern': r'\d+'},
  ),
  'data.folder.max_megapixels': Case(0.001, {**DAMAGED, 'data.folder.damaged': 'skip'}),
  'augment.from_epoch': Case(1, {'augment.flip': 'random'}),
  'augment.flip': Case('random'),
  'augment.vertical_flip': Case(True),
  'augment.rotation': Case(20.0),
  'augment.height_shift': Case(0.3),
  'augment.width_shift': Case(0.3),
  'augment.shear': Case(0.5),
  'augment.zoom': Case(0.5),
  'augment.interpolation': Case('nearest', {'augment.rotation': 20.0}),
  'augment.border': Case('zero', {'augment.width_shift': 0.3}),
  'augment.crop_padding': Case(2),
  'augment.crop_border': Case('zero', {'augment.crop_padding': 2}),
  'augment.brightness': Case(0.5),
  'augment.contrast': Case(0.5),
  'augment.saturation': Case(0.5),
  'augment.hue': Case(0.3),
  'augment.brightness_shift': Case(0.5),
  'augment.contrast_scale': Case(0.5),
  'augment.policy': Case('randaugment'),
  'augment.policy_operations': Case(1, RANDAUGMENT),
  'augment.policy_magnitude': Case(25, RANDAUGMENT),
  'augment.cutout': Case(3),
  'augment.erasing': Case(0.9),
  'augment.mixup': Case(0.5),
  'augment.cutmix': Case(0.5),
  'whitening.layer': Case('Conv_0', {**WHITENED, 'whitening.layer': ''}),
  'whitening.images': Case(5, WHITENED),
  'whitening.epsilon': Case(0.1, WHITENED),
  'model.name': Case(f'{__name__}:Doubled'),
  'init_from': Case('run'),
  'init_matching': Case(True, {'init_from': 'run', 'model.head': ('flatten', 'dense 4')}),
  'loss.label_smoothing': Case(0.2),
  'loss.class_weights': Case((1.0, 2.0, 1.0, 1.0)),
  'loss.l1': Case(0.1),
  'loss.l2': Case(0.1),
  'optimizer.name': Case('adam'),
  'optimizer.learning_rate': Case(0.2),
  'optimizer.momentum': Case(0.5),
  'optimizer.nesterov': Case(True, {'optimizer.momentum': 0.5}),
  'optimizer.rho': Case(0.5, {'optimizer.name': 'rmsprop'}),
  'optimizer.beta1': Case(0.5, {'optimizer.name': 'adam'}),
  'optimizer.beta2': Case(0.5, {'optimizer.name': 'adam'}),
  'optimizer.epsilon': Case(0.1, {'optimizer.name': 'adam'}),
  'optimizer.trust': Case(0.1, {'optimizer.name': 'lars'}),
  'optimizer.coefficients': Case((2.0, -1.5, 0.5), MUON),
  'optimizer.renormalize_every': Case(2, MUON),
  'optimizer.weight_decay': Case(0.1),
  'optimizer.weight_decay_mask': Case('kernels', {'optimizer.weight_decay': 0.5}),
  'optimizer.gradient_clip_norm': Case(0.01),
  'optimizer.sam_rho': Case(0.5),
  'optimizer.max_norm': Case(0.1),
  'optimizer.groups': Case({'all_kernels': {'pattern': '.*/kernel', 'frozen_from_epoch': 0}}),
  'schedule.name': Case('cosine'),
  'schedule.decay': Case(2.0, {'schedule.name': 'time_decay', 'schedule.decay': 1.0}),
  'schedule.boundaries': Case(
    (0.7,), {'schedule.name': 'piecewise', 'schedule.boundaries': (0.4,)}
  ),
  'schedule.factors': Case((0.5,), {'schedule.name': 'piecewise', 'schedule.boundaries': (0.4,)}),
  'schedule.factor': Case(0.2, {'schedule.name': 'exponential', 'schedule.factor': 0.5}),
  'schedule.warmup_epochs': Case(
    0.7, {'schedule.name': 'warmup_cosine', 'schedule.warmup_epochs': 0.4}
  ),
  'schedule.peak_epoch': Case(0.4, {'schedule.name': 'triangular', 'schedule.peak_epoch': 0.7}),
  'schedule.start_factor': Case(0.6, {'schedule.name': 'triangular', 'schedule.peak_epoch': 0.7}),
  'schedule.end_factor': Case(0.5, COSINE),
  'weight_averaging.name': Case('lookahead'),
  'weight_averaging.every_steps': Case(2, {'weight_averaging.name': 'ema'}),
  'weight_averaging.decay': Case(
    0.1, {'weight_averaging.name': 'lookahead', 'weight_averaging.every_steps': 1}
  ),
  'weight_averaging.power': Case(
    1.0, {'weight_averaging.name': 'lookahead', 'weight_averaging.every_steps': 1}
  ),
  'weight_averaging.start_epoch': Case(0.7, {**SWA, 'weight_averaging.start_epoch': 0.4}),
  'weight_averaging.beta': Case(0.5, {'weight_averaging.name': 'schedule_free'}),
  'batch_norm.ghost_batch_size': Case(4, CONVOLUTION),
}

# The same losses and parameters, to the last bit.
NEUTRAL: dict[str, Case] = {
  'epochs': Case(2),
  'max_steps': Case(4, {'epochs': 2}),
  'pad_to_devices': Case(True),
  'steps_per_dispatch': Case(2),
  'tags': Case(('a', 'b')),
  'tensorboard': Case(True),
  'data.dir': Case('copy.npz'),
  'data.placement': Case('host', {**DRAWN, **SHORT}),
  'data.folder.damaged': Case('skip', PHOTOGRAPHS),
  'data.folder.max_megapixels': Case(100.0, PHOTOGRAPHS),
  'data.folder.cache': Case(False, STREAMED),
  'data.folder.workers': Case(1, PHOTOGRAPHS),
  'early_stopping.patience': Case(1),
  'early_stopping.monitor': Case('train_loss'),
  'early_stopping.min_delta': Case(1.0),
  'early_stopping.patience_semantics': Case('keras2.0'),
  'plateau.patience': Case(1),
  'plateau.monitor': Case('train_loss', {'plateau.patience': 1}),
  'plateau.factor': Case(0.5, {'plateau.patience': 1}),
  'plateau.min_delta': Case(1.0, {'plateau.patience': 1}),
  'plateau.cooldown': Case(1, {'plateau.patience': 1}),
  'plateau.min_learning_rate': Case(0.01, {'plateau.patience': 1}),
  'plateau.patience_semantics': Case('keras2.0', {'plateau.patience': 1}),
  'evaluate.every_epochs': Case(0),
  'evaluate.test': Case(False),
  'evaluate.drop_remainder': Case(True, {'data.validation': '13'}),
  'evaluate.tta': Case('flip'),
  'evaluate.tta_fraction': Case(0.25, {'evaluate.tta': 'flip'}),
  'evaluate.images_every_epochs': Case(1),
  'evaluate.max_misclassified': Case(-1),
  'profile.steps': Case(1),
  'profile.after_steps': Case(1, {'profile.steps': 1}),
  'checkpoint.every_epochs': Case(0),
  'checkpoint.every_steps': Case(1),
  'checkpoint.keep': Case(1),
  'checkpoint.read_back': Case(True),
  'checkpoint.best': Case('val_loss'),
}
# Sums in another order: the same within float32's rounding.
ROUNDED: dict[str, Case] = {
  'grad_accum_steps': Case(2),
  'parallel': Case('pmap', DRAWN),
  'devices': Case(2, DRAWN),
}
# Not to be changed with others: another number of updates per report, and no epoch to stop at.
ALONE = ('steps_per_dispatch', 'evaluate.every_epochs')
# Another loss or accuracy of the same parameters.
EVALUATED = ('evaluate.drop_remainder', 'evaluate.tta', 'evaluate.tta_fraction')


class Doubled(nn.Module):
  """A network of the user's own."""

  num_classes: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    del train
    return 2 * nn.Dense(self.num_classes)(images.reshape(len(images), -1))


@pytest.fixture(scope='module')
def effects(tmp_path_factory) -> Iterator[Effects]:
  with made_in(tmp_path_factory.mktemp('effects')) as found:
    yield found


def both(effects: Effects, option: str, case: Case) -> tuple[Outcome | str, Outcome | str]:
  """The outcomes without and with the option's other value."""
  return (
    effects(case.context, case.steps),
    effects({**case.context, option: case.value}, case.steps),
  )


# Options that act as parts of what another one chooses, and by the same way as it: tests/augment,
# tests/optim, tests/training and tests/data show of each what it does.
THOROUGH = ('augment.', 'data.folder.', 'data.zca_', 'whitening.', 'schedule.', 'weight_averaging.')
THOROUGH_RULES = {
  f'optimizer.{name}'
  for name in (
    *('nesterov', 'rho', 'beta1', 'beta2', 'epsilon', 'trust', 'coefficients'),
    *('renormalize_every', 'weight_decay_mask'),
  )
}
DAILY = {'whitening.epsilon', 'schedule.name', 'weight_averaging.name', 'data.folder.damaged'}


def marked_slow(options: Iterable[str], *slow: str) -> list[Any]:
  """The options; those that act by the way of another one are thorough."""

  def marks(option: str) -> tuple[pytest.MarkDecorator, ...]:
    if option in slow:
      return (pytest.mark.slow,)
    thorough = option in THOROUGH_RULES or (option.startswith(THOROUGH) and option not in DAILY)
    return (pytest.mark.thorough,) if thorough else ()

  return [pytest.param(option, marks=marks(option)) for option in sorted(options)]


REFUSED_WITHOUT = ('data.folder.damaged', 'init_matching')
SLOW_TO_COMPILE = ('augment.policy_operations', 'augment.policy_magnitude')


@pytest.mark.parametrize('option', marked_slow(ACTS, *SLOW_TO_COMPILE))
def test_an_option_that_acts(effects, option) -> None:
  before, after = both(effects, option, ACTS[option])
  assert isinstance(after, Outcome), after
  assert isinstance(before, str) == (option in REFUSED_WITHOUT)
  assert isinstance(before, str) or not same(before, after)


def in_groups() -> list[Any]:
  """The options that change nothing in groups that have a context in common."""
  groups: dict[str, list[str]] = {}
  for option, case in sorted(NEUTRAL.items()):
    key = option if option in ALONE else repr(case.context)
    groups.setdefault(key, []).append(option)
  return [
    pytest.param(
      options,
      id=options[0] + (f' and {len(options) - 1} more' if options[1:] else ''),
      marks=[pytest.mark.slow] if 'data.folder.cache' in options else [],
    )
    for options in groups.values()
  ]


@pytest.mark.parametrize('options', in_groups())
def test_options_that_change_nothing(effects, options) -> None:
  """Changed together; the slow tests change each by itself, and so name one that does."""
  context = NEUTRAL[options[0]].context
  values = {option: NEUTRAL[option].value for option in options}
  assert same(effects(context), effects({**context, **values}))


@pytest.mark.slow
@pytest.mark.parametrize('option', sorted(NEUTRAL))
def test_an_option_that_changes_nothing(effects, option) -> None:
  assert same(*both(effects, option, NEUTRAL[option]))


@pytest.mark.parametrize('option', sorted(ROUNDED))
def test_an_option_that_changes_the_order_of_sums(effects, option) -> None:
  assert same(*both(effects, option, ROUNDED[option]), rounding=1e-5)


@pytest.mark.parametrize('option', marked_slow(NEUTRAL, *(NEUTRAL.keys() - EVALUATED)))
def test_an_option_of_evaluation(effects, option) -> None:
  """Those named so, and no others, give another loss of the same parameters."""
  before, after = both(effects, option, NEUTRAL[option])
  assert (before.evaluate() != after.evaluate()) == (option in EVALUATED)


def test_every_option_is_here() -> None:
  options = {key for key, _ in configs.flatten(base.get_config())} | {'optimizer.groups'}
  assert set(ACTS) | set(NEUTRAL) | set(ROUNDED) == options
  # One place each, but for those that act in one context and not in another.
  assert set(ACTS) & set(NEUTRAL) == {
    'epochs',
    'max_steps',
    'data.dir',
    'data.folder.damaged',
    'data.folder.max_megapixels',
  }
  assert not set(ROUNDED) & (set(ACTS) | set(NEUTRAL))


@pytest.mark.parametrize(
  ('claimed', 'excepted'),
  [
    ({name for name, option in configs.OPTIONS.items() if option.resumable}, {'rng'}),
    (configs.NEUTRAL, {'seed'}),
  ],
  ids=['a continued run', 'one system of the benchmarks'],
)
def test_what_is_claimed_to_change_nothing(claimed, excepted) -> None:
  """Who asks for another generator is told; the seed is what the benchmarks take a mean over."""
  assert claimed - {*NEUTRAL, *ROUNDED} == excepted
