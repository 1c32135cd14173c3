"""Every mistake in a config becomes one sentence that names the flag; the rest is unchanged."""

import re
from typing import Any

import pytest

from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.config_files import ADV, SHIPPED, mistake, one_line, plain, with_value, without

# ml_collections loads config files by an old way of importlib.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
NAN, INFINITY = float('nan'), float('inf')

# Of each kind of value, by hand: what an option must refuse, and what it must take.
BY_HAND: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
  'seed': ((-1, 2**32, 2**64, 1.5, '1', None, True, NAN), (0, 2**32 - 1)),
  'batch_size': ((0, -32, 2**31, 2**63), (1, 4096)),
  'parallel': (('', 'JIT', 'ddp', None, 1), ('jit', 'pmap')),
  'tags': (('word', (1,), None, ('a', None)), ((), ('a', 'b c'), ['a'])),
  'tensorboard': ((0, 1, 'False', None), (True, False)),
  'data.validation': ((0.1, 5000, None), ('test', '0.1', '5000')),
  'data.channels': ((2, -1, 1.5, True), (0, 1, 3)),
  'data.zca_epsilon': ((0, -1e-6, NAN, INFINITY, '1', None), (1e-9, 1)),
  'data.mean': (
    (0.5, (), ('a',), (None,), (NAN,), (INFINITY,), (True,), None),
    ((0.5,), (0, 0.5, -1), [0.5]),
  ),
  'data.std': ((1.0, (), (0.0,), (-1.0,), (1.0, 0.0)), ((0.5,), (1, 2, 3))),
  'data.folder.image_size': (((150,), (0, 5), (5, 5.0), (1, 2, 3), 32), ((1, 1), [150, 99])),
  'augment.rotation': ((-0.1, NAN, INFINITY, '1', None), (0, 0.2, 10.0)),
  'augment.zoom': ((-0.1, 1.0, 1, NAN, '0.2', None), (0, 0.2)),
  'augment.hue': ((-0.1, 0.6, 1), (0, 0.5)),
  'augment.erasing': ((-0.1, 1.1), (0, 1, 0.25)),
  'augment.policy_magnitude': ((-1, 31), (0, 30)),
  'plateau.factor': ((0, 1, 1.0, -0.5, NAN, '0.1', None), (0.1, 0.99)),
  'early_stopping.monitor': (('loss', ''), ('val_loss', 'train_accuracy')),
  'evaluate.max_misclassified': ((-2,), (-1, 0, 20)),
  'loss.class_weights': (
    (1.0, (-1.0,), (INFINITY, 1.0), (0, 0.0, 0), (True, 1)),
    ((), (1, 2.5), [1.0], (0, 1)),
  ),
}
REFUSED = [(key, value) for key, (refused, _) in BY_HAND.items() for value in refused]
REFUSED += [(key, v) for key, o in configs.OPTIONS.items() for v in o.constraint.refused]
TAKEN = [(key, value) for key, (_, taken) in BY_HAND.items() for value in taken]
TAKEN += [(key, v) for key, o in configs.OPTIONS.items() for v in o.constraint.allowed]
# Sections that a name chooses: enough to see that validate() asks the right module.
CHOSEN: dict[str, Any] = {
  'optimizer.name': ('adan', r"--config\.optimizer\.name 'adan' is unknown; did you mean 'adam'\?"),
  'optimizer.learning_rate': (0.0, r'--config\.optimizer\.learning_rate must be a number above 0'),
  'optimizer.momentum': (
    0.9,
    r"'keras_adam' takes no --config\.optimizer\.momentum; it takes .*beta1",
  ),
  'schedule.name': (
    'cosin',
    r"--config\.schedule\.name 'cosin' is unknown; did you mean 'cosine'\?",
  ),
  'schedule.factor': (0.5, r"'constant' takes no --config\.schedule\.factor"),
  'weight_averaging.name': (
    'emma',
    r"--config\.weight_averaging\.name 'emma' is unknown; did you mean 'ema'\?",
  ),
  'weight_averaging.decay': (
    0.9,
    r"weight_averaging 'none' takes no --config\.weight_averaging\.decay",
  ),
  'model.name': ('conv_nat', r"--config\.model\.name: no network is called 'conv_nat'.*'conv_net'"),
  'model.dtype': ('float16', r"--config\.model\.dtype: 'float16' .*'bfloat16'"),
  'model.widht': ((3,), r"--config\.model\.widht: .* did you mean 'widths'"),
}


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_config_is_valid_and_locked(path) -> None:
  config = configs.load(str(path))
  configs.validate(config)
  assert config.is_locked
  with pytest.raises(AttributeError):
    config.epoch = 3


def test_every_option_is_in_the_config_and_nothing_else() -> None:
  config = base.get_config()
  assert dict(configs.OPTIONS) == {
    key: configs.OPTIONS[key]
    for key in plain(config)
    if key.split('.')[0] not in ('model', 'optimizer', 'schedule', 'weight_averaging')
  }
  assert {key: plain(config)[key] for key in configs.OPTIONS} == {
    key: option.default for key, option in configs.OPTIONS.items()
  }


@pytest.mark.parametrize('key', sorted(configs.OPTIONS))
def test_values_of_an_option(key) -> None:
  """What is said to be impossible is refused, with the flag; extremes are taken."""
  refused = [value for name, value in REFUSED if name == key]
  taken = [value for name, value in TAKEN if name == key]
  assert len(refused) > 2
  assert taken
  for value in refused:
    message = mistake(lambda value=value: configs.validate(with_value(key, value))) or ''
    assert message.startswith(f'--config.{key} must be '), value
    assert repr(value) in message
    assert '\n' not in message
  for value in taken:
    config = with_value(key, value)
    if key == 'evaluate.test':  # the article validates on the test set, which opens it
      with config.unlocked():
        config.data.validation = '5000'
    configs.validate(config)


@pytest.mark.parametrize('key', sorted(configs.OPTIONS))
def test_missing_option_is_named(key) -> None:
  with pytest.raises(UserError, match=rf'lacks {re.escape(key)}; .*configs/base\.py') as error:
    configs.validate(without(key))
  one_line(error)


@pytest.mark.parametrize(
  'section', ['data', 'augment', 'model', 'loss', 'optimizer', 'schedule', 'checkpoint']
)
def test_missing_section_is_named(section) -> None:
  with pytest.raises(UserError, match=section) as error:
    configs.validate(without(section))
  one_line(error)


@pytest.mark.parametrize('key', sorted(CHOSEN))
def test_mistake_in_a_chosen_section(key) -> None:
  value, message = CHOSEN[key]
  with pytest.raises(UserError, match=message) as error:
    configs.validate(with_value(key, value))
  one_line(error)


def test_schedule_that_does_not_fit_the_epochs_is_found_before_anything_starts() -> None:
  config = configs.load(
    ADV, ['--config.schedule.name=warmup_cosine', '--config.schedule.warmup_epochs=100']
  )
  with pytest.raises(
    UserError, match=r'--config\.schedule\.warmup_epochs is 100.*--config\.epochs'
  ):
    configs.validate(config)
