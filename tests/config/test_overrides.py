"""Options on the command line."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.trainer import recipe
from cifar_jax.utils.errors import UserError
from configs import cnn_adv
from tests.helpers import REPOSITORY
from tests.helpers.config_files import ADV, mistake, one_line, plain

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('--config.epoch=3', r'^unknown option --config\.epoch; did you mean --config\.epochs\?$'),
    ('-config.epoch=3', r'--config\.epoch; did you mean --config\.epochs\?$'),
    ('--config.optimizer.learning_rat=3', r'did you mean --config\.optimizer\.learning_rate\?$'),
    ('--config.optimiser.momentum=3', r'did you mean --config\.optimizer\.momentum\?$'),
    ('--config.learning_rate=3', r'did you mean --config\.optimizer\.learning_rate\?$'),
    ('--config.model.width=3', r'did you mean --config\.model\.widths\?$'),
    ('--config.data.validaton=test', r'did you mean --config\.data\.validation\?$'),
    ('--config.data.nane=tiny', r'did you mean --config\.data\.name\?$'),
    ('--config.model.nam=x', r'did you mean --config\.model\.name\?$'),
    ('--config.optimizer.nam=x', r'did you mean --config\.optimizer\.name\?$'),
    ('--noconfig.augment.flop', r'did you mean --config\.augment\.flip\?$'),
    ('--config.qqqq=3', r'^unknown option --config\.qqqq$'),
    ('--config.model=3', r'^unknown option --config\.model; '),
    ('--config.model.widths[0]=3', r'did you mean --config\.model\.widths\?$'),
    ('--config.epochs=three', r"^--config\.epochs takes a whole number, not 'three'$"),
    ('--config.epochs=2.5', r"^--config\.epochs takes a whole number, not '2\.5'$"),
    ('--config.epochs=', r"^--config\.epochs takes a whole number, not ''$"),
    ('--config.epochs', r'--config\.epochs'),
    ('--config.optimizer.learning_rate=fast', r"^--config\.\S+rate takes a number, not 'fast'$"),
    ('--config.epochs=None', r"^--config\.epochs takes a whole number, not 'None'$"),
    ('--config.tensorboard=maybe', r"^--config\.tensorboard takes true or false, not 'maybe'$"),
    ('--config.data.mean=(0.5,', r"^--config\.data\.mean takes a tuple, not '\(0\.5,'$"),
    ('--epochs=3', r'epochs.* did you mean --config\.epochs\?$'),
    ('--wrokdir=x', r'wrokdir'),
  ],
)
def test_mistyped_argument(argument, message) -> None:
  with pytest.raises(UserError, match=message) as error:
    configs.load(ADV, [argument])
  one_line(error)


@pytest.mark.parametrize(
  'arguments',
  [
    ['config.epochs=3'],  # the dashes were forgotten
    ['--config.tensorboard', 'false'],  # a boolean takes its value after '=' only
  ],
)
def test_stray_word_is_not_ignored(arguments) -> None:
  with pytest.raises(UserError, match=re.escape(arguments[-1])) as error:
    configs.load(ADV, arguments)
  one_line(error)


@pytest.mark.parametrize(
  ('argument', 'key', 'value'),
  [
    ('--config.epochs=3', 'epochs', 3),
    ('-config.epochs=3', 'epochs', 3),
    ('--config.optimizer.learning_rate=3e-4', 'optimizer.learning_rate', 3e-4),
    ('--config.optimizer.learning_rate=1', 'optimizer.learning_rate', 1.0),
    ('--config.tensorboard', 'tensorboard', True),
    ('--config.tensorboard=true', 'tensorboard', True),
    ('--config.tensorboard=True', 'tensorboard', True),
    ('--config.tensorboard=1', 'tensorboard', True),
    ('--config.tensorboard=false', 'tensorboard', False),
    ('--config.tensorboard=False', 'tensorboard', False),
    ('--config.tensorboard=0', 'tensorboard', False),
    ('--noconfig.tensorboard', 'tensorboard', False),
    ('--config.model.widths=(64,128)', 'model.widths', (64, 128)),
    ('--config.model.widths=64,128', 'model.widths', (64, 128)),
    ('--config.model.widths=64', 'model.widths', (64,)),
    ('--config.model.widths=()', 'model.widths', ()),
    ("--config.tags=('a','b')", 'tags', ('a', 'b')),
    ('--config.tags=a', 'tags', ('a',)),
    ("--config.model.head=('flatten','dropout 0.5')", 'model.head', ('flatten', 'dropout 0.5')),
    ('--config.data.mean=(0,0.5)', 'data.mean', (0, 0.5)),
    ('--config.data.dir=/a b=c', 'data.dir', '/a b=c'),
    ('--config.data.dir=', 'data.dir', ''),
    ('--config.data.validation=5000', 'data.validation', '5000'),
    ('--config.optimizer.momentum=0.9', 'optimizer.momentum', 0.9),  # placeholders from here
    ('--config.optimizer.nesterov=true', 'optimizer.nesterov', True),
    ('--noconfig.optimizer.nesterov', 'optimizer.nesterov', False),
    ('--config.optimizer.weight_decay_mask=all', 'optimizer.weight_decay_mask', 'all'),
    ('--config.schedule.boundaries=(10,20)', 'schedule.boundaries', (10, 20)),
    ('--config.schedule.boundaries=10', 'schedule.boundaries', (10,)),
    *((f'--config.tensorboard={word}', 'tensorboard', True) for word in ('on', 'yes', 'ON')),
    *((f'--config.tensorboard={word}', 'tensorboard', False) for word in ('off', 'no', 'Off')),
    ('--config.optimizer.nesterov=yes', 'optimizer.nesterov', True),
    ('--config.loss.class_weights={1:3.0,0:1}', 'loss.class_weights', (1, 3.0)),
    ('--config.loss.class_weights=balanced', 'loss.class_weights', ('balanced',)),
    ("--config.loss.class_weights=('balanced',)", 'loss.class_weights', ('balanced',)),
    ('--config.data.dir=None', 'data.dir', 'None'),  # a name like any other
    ('--config.data.dir=off', 'data.dir', 'off'),
  ],
)
def test_override_of_every_type(argument, key, value) -> None:
  before, after = plain(configs.load(ADV)), plain(configs.load(ADV, [argument]))
  assert after.pop(key) == value
  assert type(value) is type(plain(configs.load(ADV, [argument]))[key])
  before.pop(key)
  assert after == before


@pytest.mark.parametrize('value', ['None', ''])
def test_what_a_config_sets_can_be_unset(value) -> None:
  """And a number after that sets it again."""
  catsdogs = str(REPOSITORY / 'configs' / 'catsdogs_scratch.py')
  assert configs.load(catsdogs).optimizer.momentum == 0.9
  adam, unset = '--config.optimizer.name=adam', f'--config.optimizer.momentum={value}'
  config = configs.load(catsdogs, [adam, unset])
  assert config.optimizer.momentum is None
  configs.validate(config)
  config = configs.load(catsdogs, [unset, '--config.optimizer.momentum=0.5'])
  assert config.optimizer.momentum == 0.5
  text = ['--config.optimizer.weight_decay_mask=all', '--config.optimizer.weight_decay_mask=None']
  assert configs.load(catsdogs, text).optimizer.weight_decay_mask is None


def test_an_unset_learning_rate_is_that_of_the_rule() -> None:
  """0.01 for Keras's SGD, also where training makes its schedule."""
  overrides = ['--config.optimizer.name=keras_sgd', '--config.optimizer.learning_rate=None']
  config = configs.load(str(REPOSITORY / 'configs' / 'cnn_adv.py'), overrides)
  configs.validate(config)
  schedule = recipe.make_schedule(config, recipe.make_plan(config, 50_000))
  assert float(schedule(0)) == pytest.approx(0.01)


def test_the_advice_to_unset_an_option_works() -> None:
  """The error of a rule that does not take what the config sets."""
  catsdogs = str(REPOSITORY / 'configs' / 'catsdogs_scratch.py')
  overrides = ['--config.optimizer.name=adam']
  message = mistake(lambda: configs.validate(configs.load(catsdogs, overrides)))
  advice = re.search(r'--config\.\S+=None', message or '')
  assert advice is not None
  assert mistake(lambda: configs.validate(configs.load(catsdogs, [*overrides, advice[0]]))) is None


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('--config.model.widths={16:2,8:3}', r"^--config\.model\.widths takes a tuple.*'{16:2,8:3}'$"),
    ('--config.model.widths={16,8}', r'^--config\.model\.widths takes a tuple, whose order counts'),
    ('--config.data.mean={}', r'^--config\.data\.mean takes a tuple'),
    ('--config.loss.class_weights={1:1.0,2:3.0}', r'a weight for each class 0, 1, .*\{1: 1\.0'),
    ('--config.loss.class_weights={True:1.0,0:3.0}', r'a weight for each class 0, 1'),
    ("--config.loss.class_weights={'cat':1.0}", r'a weight for each class 0, 1'),
  ],
)
def test_a_dictionary_is_no_tuple(argument, message) -> None:
  with pytest.raises(UserError, match=message) as error:
    configs.load(ADV, [argument])
  one_line(error)


def test_value_after_a_space_and_the_last_one_counts() -> None:
  config = configs.load(ADV, ['--config.epochs', '3', '--config.seed=1', '--config.seed=2'])
  assert (config.epochs, config.seed) == (3, 2)


# Text that each kind of option is likely to get wrong, and any other.
TEXTS = st.one_of(
  st.text(max_size=20),
  st.sampled_from(
    ['(', '[1,', "('a'", '{}', '1e999', 'nan', '-inf', '0x10', '1_000', '\\', "'", '"']
  ),
  st.integers().map(str),
  st.floats().map(str),
  st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3)), max_size=3).map(
    lambda items: str(tuple(items))
  ),
)


def check_text(key: str, text: str) -> None:
  argument = f'--config.{key}={text}'
  if message := mistake(lambda: configs.load(ADV, [argument])):
    assert f'--config.{key}' in message
    assert '\n' not in message
  elif message := mistake(lambda: configs.validate(configs.load(ADV, [argument]))):
    assert f'--config.{key.split(".")[0]}' in message


@pytest.mark.thorough
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(sorted(plain(cnn_adv.get_config()))), text=TEXTS)
@example(key='data.mean', text='(' * 300)
@example(key='data.mean', text='\x00')
@example(key='model.block', text="('conv3', 3)")
@example(key='model.widths', text="('a',)")
@example(key='model.widths', text='(0,)')
@example(key='model.block', text='((),)')
@example(key='seed', text='9' * 5000)
def test_no_text_gives_anything_but_a_config_or_a_sentence(key, text) -> None:
  check_text(key, text)


@pytest.mark.thorough
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(sorted(plain(cnn_adv.get_config()))), text=TEXTS)
def test_none_of_many_texts_does(key, text) -> None:
  check_text(key, text)


@settings(max_examples=50, deadline=None)
@given(
  key=st.text(st.characters(exclude_categories=('C', 'Z')), max_size=12), text=st.text(max_size=5)
)
def test_no_key_gives_anything_but_a_config_or_a_sentence(key, text) -> None:
  message = mistake(lambda: configs.load(ADV, [f'--config.{key}={text}']))
  assert '\n' not in (message or '')


def test_an_old_section_is_found_by_its_old_name(tmp_path) -> None:
  for section in ('config.average', "config['average']"):
    path = tmp_path / 'old.py'
    path.write_text(
      'from configs import base\ndef get_config():\n  config = base.get_config()\n'
      f"  {section}.name = 'ema'\n  return config\n"
    )
    assert configs.load(str(path)).weight_averaging.name == 'ema'


def test_an_optimizer_that_is_set_as_a_whole(tmp_path) -> None:
  """Options that it leaves out have their defaults."""
  path = tmp_path / 'whole.py'
  path.write_text(
    'from configs import base\nfrom ml_collections import ConfigDict\n'
    'def get_config():\n  config = base.get_config()\n'
    "  config.optimizer = ConfigDict({'name': 'sgd', 'learning_rate': 0.1})\n  return config\n"
  )
  config = configs.load(str(path))
  configs.validate(config)
  images, labels = np.zeros((40, 4, 4, 3), np.uint8), np.zeros(40, np.int32)
  split = data.Split(images, labels)
  splits = data.Splits(split, split, split, ('a', 'b'), 'tiny', '', True, True)
  assert recipe.make_recipe(config, splits, recipe.make_plan(config, 40)).sam_rho == 0.0
