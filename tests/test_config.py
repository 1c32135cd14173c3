"""Every mistake in a config becomes one sentence that names the flag; the rest is unchanged."""

import json
import pathlib
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import option_checks
from cifar_jax.errors import UserError
from configs import base, cnn_adv

# ml_collections loads config files by an old way of importlib.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
REPOSITORY = pathlib.Path(__file__).parent.parent
SHIPPED = sorted((REPOSITORY / 'configs').glob('[a-z]*.py'))
ADV = str(REPOSITORY / 'configs' / 'cnn_adv.py')
NAN, INFINITY = float('nan'), float('inf')

# Options outside of model, optimizer and schedule: what they must refuse, extremes to be taken.
WHOLE = (1.5, '1', None, True, NAN)
VALUES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
  'seed': ((-1, 2**64, *WHOLE), (0, 2**32 - 1)),
  'epochs': ((0, -3, *WHOLE), (1, 10**6)),
  'max_steps': ((-1, *WHOLE), (0, 476)),
  'gradient_accumulation': ((0, -1, *WHOLE), (1, 4)),
  'batch_size': ((0, -32, *WHOLE), (1, 4096)),
  'parallel': (('', 'JIT', 'ddp', None, 1), ('jit', 'pmap')),
  'uneven_batch': (('', 'drop', None, 1), ('error', 'pad')),
  'batch_norm.ghost_rows': ((-1, *WHOLE), (0, 16)),
  'devices': ((-1, *WHOLE), (0, 8)),
  'steps_per_dispatch': ((-1, *WHOLE), (0, 1000)),
  'tags': (('word', (1,), None, ('a', None)), ((), ('a', 'b c'), ['a'])),
  'start_from': ((3, None, ('a',)), ('', 'runs/head')),
  'tensorboard': ((0, 1, 'False', None), (True, False)),
  'data.name': ((3, None, ('cifar10',)), ('cifar10', 'synthetic')),
  'data.dir': ((3, None, ('a',)), ('', '/somewhere')),
  'data.validation': ((0.1, 5000, None), ('test', '0.1', '5000')),
  'data.validation_from': (('first', '', None, 0), ('random', 'last')),
  'data.last_batch': (('pad', '', None, True), ('keep', 'drop')),
  'data.channels': ((2, -1, *WHOLE), (0, 1, 3)),
  'data.pad_to': ((-1, *WHOLE), (0, 32)),
  'data.placement': (('', 'disk', None, 1), ('device', 'host')),
  'data.normalize': (('zca_whitening', '', None, 1), ('given', 'channel', 'zca')),
  'data.zca_images': ((0, -1, *WHOLE), (1, 50000)),
  'data.zca_epsilon': ((0, -1e-6, NAN, INFINITY, '1', None), (1e-9, 1)),
  'data.mean': (
    (0.5, (), ('a',), (None,), (NAN,), (INFINITY,), (True,), None),
    ((0.5,), (0, 0.5, -1), [0.5]),
  ),
  'data.std': ((1.0, (), (0.0,), (-1.0,), ('a',), (NAN,), (1.0, 0.0), None), ((0.5,), (1, 2, 3))),
  'data.folder.image_size': (((150,), (0, 5), (5, 5.0), (1, 2, 3), 32, None), ((1, 1), [150, 99])),
  'data.folder.resize': (('fit', '', None, True), ('stretch', 'crop', 'pad')),
  'data.folder.interpolation': (('cubic', '', None, 2), ('nearest', 'bilinear', 'lanczos')),
  'data.folder.damaged': (('ignore', '', None, False), ('error', 'skip')),
  'data.folder.max_megapixels': ((0, -1.0, NAN, INFINITY, '64', None), (0.1, 200)),
  'data.folder.cache': ((0, 1, 'auto', None), (True, False)),
  'data.folder.workers': ((-1, *WHOLE), (0, 8)),
  'augment.from_epoch': ((-1, *WHOLE), (0, 200)),
  'augment.flip': ((0, True, 'yes', '', None), ('none', 'random', 'alternating')),
  'augment.vertical_flip': ((0, 1, 'False', None), (True, False)),
  'augment.crop_border': (('black', '', None, 0), ('reflect', 'zero')),
  **{
    f'augment.{name}': ((-0.1, NAN, INFINITY, '1', None), (0, 0.2, 10.0))
    for name in ('rotation', 'height_shift', 'width_shift', 'shear')
  },
  'augment.zoom': ((-0.1, 1.0, 1, NAN, '0.2', None), (0, 0.2)),
  'augment.interpolation': (('cubic', '', None, 1), ('nearest', 'bilinear')),
  'augment.border': (('constant', '', None, 0), ('nearest', 'reflect', 'wrap', 'zero')),
  **{
    f'augment.{name}': ((-0.1, NAN, INFINITY, '1', None), (0, 0.4, 2))
    for name in ('brightness', 'contrast', 'saturation', 'mixup', 'cutmix')
  },
  'augment.hue': ((-0.1, 0.6, 1, NAN, '0.1', None), (0, 0.5)),
  'augment.policy': (('autoaugment', '', None, 2), ('none', 'randaugment', 'trivialaugment')),
  'augment.policy_operations': ((0, -1, *WHOLE), (1, 5)),
  'augment.policy_magnitude': ((-1, 31, *WHOLE), (0, 30)),
  'augment.cutout': ((-1, *WHOLE), (0, 12)),
  'augment.erasing': ((-0.1, 1.1, NAN, '0.5', None), (0, 1, 0.25)),
  'whitening.layer': ((3, None), ('', 'whitening')),
  'whitening.images': ((0, -1, *WHOLE), (1, 5000)),
  'whitening.epsilon': ((0, 0.0, -1e-4, NAN, INFINITY, '1', None), (1e-9, 1)),
  'early_stopping.patience': ((-1, *WHOLE), (0, 10)),
  'early_stopping.min_delta': ((-0.1, NAN, INFINITY, '1', None), (0, 0.01)),
  'plateau.patience': ((-1, *WHOLE), (0, 10)),
  'plateau.factor': ((0, 1, 1.0, -0.5, NAN, '0.1', None), (0.1, 0.99)),
  'plateau.min_delta': ((-0.1, NAN, INFINITY, '1', None), (0, 0.01)),
  'plateau.cooldown': ((-1, *WHOLE), (0, 10)),
  'plateau.min_learning_rate': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-6)),
  **{
    f'{section}.monitor': (('loss', '', None, 1), ('val_loss', 'train_accuracy'))
    for section in ('early_stopping', 'plateau')
  },
  **{
    f'{section}.counting': (('keras3', '', None, 2), ('keras', 'keras2.0'))
    for section in ('early_stopping', 'plateau')
  },
  'evaluate.tta': (('', 'mirror', None, 1), ('none', 'flip', 'flip_translate')),
  'evaluate.every_epochs': ((-1, *WHOLE), (0, 5)),
  'evaluate.pictures_every_epochs': ((-1, *WHOLE), (0, 5)),
  'evaluate.mistakes': ((-2, *WHOLE), (-1, 0, 20)),
  'augment.crop_padding': ((-1, *WHOLE), (0, 4)),
  'loss.label_smoothing': ((-0.1, 1.0, 1, NAN, INFINITY, '0.1', None), (0, 0.0, 0.999)),
  'loss.class_weights': ((1.0, (-1.0,), ('a',), (NAN,), None), ((), (1, 2.5), [1.0])),
  'loss.l1': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-4)),
  'loss.l2': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-4)),
  'checkpoint.every_epochs': ((-1, *WHOLE), (0, 5)),
  'checkpoint.every_steps': ((-1, *WHOLE), (0, 5)),
  'profile.steps': ((-1, *WHOLE), (0, 5)),
  'profile.after_steps': ((-1, *WHOLE), (0, 5)),
  'checkpoint.keep': ((0, -1, *WHOLE), (1, 100)),
  'checkpoint.best': (('test_accuracy', '', None, 1), ('val_accuracy', 'val_loss')),
}
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
  'average.name': ('emma', r"--config\.average\.name 'emma' is unknown; did you mean 'ema'\?"),
  'average.decay': (0.9, r"average 'none' takes no --config\.average\.decay"),
  'model.name': ('conv_nat', r"--config\.model\.name: no network is called 'conv_nat'.*'conv_net'"),
  'model.dtype': ('float16', r"--config\.model\.dtype: 'float16' .*'bfloat16'"),
  'model.widht': ((3,), r"--config\.model\.widht: .* did you mean 'widths'"),
}


def with_value(key: str, value: Any) -> ConfigDict:
  """configs/cnn_adv.py with one value, of any type, set past the config's own checks."""
  config = ConfigDict(configs.load(ADV).copy_and_resolve_references())
  section, _, option = key.rpartition('.')
  with config.unlocked(), config.ignore_type():
    (config[section] if section else config)[option] = value
  return config.lock()


def without(key: str) -> ConfigDict:
  config = ConfigDict(configs.load(ADV).copy_and_resolve_references())
  section, _, option = key.rpartition('.')
  with config.unlocked():
    del (config[section] if section else config)[option]
  return config.lock()


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
  message = str(error.value)
  assert message
  assert '\n' not in message
  assert 'Traceback' not in message
  return message


def mistake(function: Callable[[], object]) -> str | None:
  """The sentence of the UserError that a call ends with, if it does; other errors pass."""
  try:
    function()
  except UserError as error:
    return str(error)
  return None


def write(folder: pathlib.Path, body: str) -> str:
  """A config file whose get_config() starts from the base; returns its path."""
  path = folder / 'mine.py'
  head = 'from configs import base\n\ndef get_config():\n  config = base.get_config()\n'
  path.write_text(head + textwrap.indent(textwrap.dedent(body), '  '))
  return str(path)


def plain(config: ConfigDict) -> dict[str, Any]:
  return dict(configs.flatten(config))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_config_is_valid_and_locked(path) -> None:
  config = configs.load(str(path))
  configs.validate(config)
  assert config.is_locked
  with pytest.raises(AttributeError):
    config.epoch = 3


def test_the_tables_here_cover_every_option() -> None:
  options = {key for key in plain(base.get_config()) if key.split('.')[0] not in configs._CHOSEN}
  assert set(VALUES) == options
  assert set(option_checks.CHECKS) == options


@pytest.mark.parametrize(
  ('key', 'value'), [(key, value) for key, (bad, _) in VALUES.items() for value in bad]
)
def test_impossible_value_names_the_flag(key, value) -> None:
  with pytest.raises(UserError, match=rf'^--config\.{re.escape(key)} must be ') as error:
    configs.validate(with_value(key, value))
  assert repr(configs._tuples(value)) in one_line(error)


@pytest.mark.parametrize(
  ('key', 'value'), [(key, value) for key, (_, good) in VALUES.items() for value in good]
)
def test_extreme_value_is_taken(key, value) -> None:
  configs.validate(with_value(key, value))


@pytest.mark.parametrize('key', sorted(VALUES))
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
    ('--config.optimizer.momentum=None', r"^--config\.\S+momentum takes a number, not 'None'$"),
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
  ],
)
def test_override_of_every_type(argument, key, value) -> None:
  before, after = plain(configs.load(ADV)), plain(configs.load(ADV, [argument]))
  assert after.pop(key) == value
  assert type(value) is type(plain(configs.load(ADV, [argument]))[key])
  before.pop(key)
  assert after == before


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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(sorted(plain(cnn_adv.get_config()))), text=TEXTS)
@example(key='data.mean', text='(' * 300)
@example(key='data.mean', text='\x00')
@example(key='model.block', text="('conv3', 3)")
@example(key='model.widths', text="('a',)")
@example(key='model.widths', text='(0,)')
@example(key='model.block', text='((),)')
@example(key='seed', text='9' * 5000)
def test_no_text_gives_anything_but_a_config_or_a_sentence(key, text) -> None:
  argument = f'--config.{key}={text}'
  if message := mistake(lambda: configs.load(ADV, [argument])):
    assert f'--config.{key}' in message
    assert '\n' not in message
  elif message := mistake(lambda: configs.validate(configs.load(ADV, [argument]))):
    assert f'--config.{key.split(".")[0]}' in message


@settings(max_examples=50, deadline=None)
@given(
  key=st.text(st.characters(exclude_categories=('C', 'Z')), max_size=12), text=st.text(max_size=5)
)
def test_no_key_gives_anything_but_a_config_or_a_sentence(key, text) -> None:
  message = mistake(lambda: configs.load(ADV, [f'--config.{key}={text}']))
  assert '\n' not in (message or '')


def test_missing_file_names_the_nearest(tmp_path, monkeypatch) -> None:
  monkeypatch.chdir(REPOSITORY)
  with pytest.raises(
    UserError, match=r'--config=configs/cnn_avd\.py: .*configs/cnn_adv\.py.?\?$'
  ) as error:
    configs.load('configs/cnn_avd.py')
  one_line(error)
  with pytest.raises(UserError, match=r'--config=nowhere/at\.all\.py: there is no such file$'):
    configs.load('nowhere/at.all.py')
  with pytest.raises(UserError, match='no such file'):
    configs.load(str(tmp_path))


def test_syntax_error_names_file_and_line(tmp_path) -> None:
  path = write(tmp_path, 'config.epochs = 3\nconfig.batch_size = = 4\n')
  with pytest.raises(UserError, match=r'mine\.py, line 6: SyntaxError') as error:
    configs.load(path)
  one_line(error)


@pytest.mark.parametrize(
  ('body', 'line', 'message'),
  [
    ('config.epochs = 3\nconfig.tags = 1 / 0\n', 6, 'ZeroDivisionError'),
    ("config.epochs = '3'\n", 5, 'epochs'),  # another type than the default's
    ('config.optimiser.momentum = 0.9\n', 5, 'AttributeError.*optimi[sz]er'),
    ('import nothing_of_this_name\n', 5, 'nothing_of_this_name'),
    ("raise ValueError('two\\nlines')\n", 5, 'two lines'),
  ],
)
def test_exception_in_get_config_names_file_and_line(tmp_path, body, line, message) -> None:
  path = write(tmp_path, body + '\nreturn config\n')
  with pytest.raises(UserError, match=rf'mine\.py, line {line}: .*{message}') as error:
    configs.load(path)
  one_line(error)


def test_file_that_returns_nothing_or_has_no_get_config(tmp_path) -> None:
  with pytest.raises(UserError, match=r'mine\.py: get_config\(\) returned no ConfigDict'):
    configs.load(write(tmp_path, 'config.epochs = 3\n'))
  path = tmp_path / 'empty.py'
  path.write_text('epochs = 3\n')
  with pytest.raises(UserError, match=r'empty\.py.*get_config'):
    configs.load(str(path))


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('config.epoch = 3', r'^unknown option --config\.epoch; did you mean --config\.epochs\?$'),
    ('config.data.mena = (0.5,)', r'did you mean --config\.data\.mean\?$'),
    ('config.augment.crop = 4', r'unknown option --config\.augment\.crop'),
    ('config.optimizer.momentun = 0.9', r'--config\.optimizer\.momentun; it takes .*beta1'),
    ('config.schedule.warmup = 5', r'--config\.schedule\.warmup;'),
    ('config.model.blocks = ()', r"--config\.model\.blocks: .* did you mean 'block'"),
  ],
)
def test_new_key_set_inside_the_file(tmp_path, line, message) -> None:
  config = configs.load(write(tmp_path, f'{line}\nreturn config\n'))
  with pytest.raises(UserError, match=message) as error:
    configs.validate(config)
  one_line(error)


def test_argument_of_a_config_file(tmp_path) -> None:
  path = tmp_path / 'sized.py'
  path.write_text(
    'from configs import base\n\ndef get_config(size="1"):\n'
    '  config = base.get_config()\n  config.epochs = int(size)\n  return config\n'
  )
  assert configs.load(f'{path}').epochs == 1
  assert configs.load(f'{path}:7').epochs == 7
  assert configs.load(f'{path}:7', ['--config.epochs=8']).epochs == 8


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_config_json_round_trip(path, tmp_path) -> None:
  config = configs.load(str(path), ['--config.data.mean=(0,0.25)', '--config.seed=17'])
  configs.save(config, tmp_path)
  found = configs.read(tmp_path)
  assert found.is_locked
  assert plain(found) == plain(config)
  assert {k: type(v) for k, v in plain(found).items()} == {
    k: type(v) for k, v in plain(config).items()
  }
  configs.validate(found)
  configs.check_continues(config, tmp_path)
  configs.check_continues(found, tmp_path)
  readable = json.loads((tmp_path / 'config.json').read_text())
  assert readable['data']['mean'] == [0, 0.25]
  assert readable['optimizer']['rho'] is None


def test_read_of_no_run_and_of_a_damaged_one(tmp_path) -> None:
  with pytest.raises(UserError, match=r'is not the folder of a run: it has no config\.json'):
    configs.read(tmp_path)
  with pytest.raises(UserError, match='is not the folder of a run'):
    configs.read(tmp_path / 'missing')
  configs.save(configs.load(ADV), tmp_path)
  whole = (tmp_path / 'config.json').read_text()
  for damaged in ('', whole[: len(whole) // 2], '[1, 2]', '3', 'null', '"text"', '\x00' * 100):
    (tmp_path / 'config.json').write_text(damaged)
    with pytest.raises(UserError, match=r'config\.json is damaged') as error:
      configs.read(tmp_path)
    one_line(error)
  (tmp_path / 'config.json').write_bytes(b'\xff\xfe\xfa' * 10)
  with pytest.raises(UserError, match=r'config\.json is damaged'):
    configs.read(tmp_path)


def other(value: Any) -> Any:
  """Some other value of about the same type."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, int | float):
    return value + 1
  if isinstance(value, tuple):
    return (*value, 'x')
  return f'{value or ""}x'


@pytest.mark.parametrize('key', sorted(plain(cnn_adv.get_config())))
def test_continuing_with_another_value(key, tmp_path) -> None:
  """What cannot alter a step already made may change; everything else is named with both values."""
  configs.save(configs.load(ADV), tmp_path)
  value = plain(configs.load(ADV))[key]
  changed = with_value(key, other(value))
  free = {
    'epochs',
    'max_steps',
    'parallel',
    'devices',
    'uneven_batch',
    'steps_per_dispatch',
    'tags',
  }
  free |= {'tensorboard', 'data.dir', 'data.placement', 'data.folder.workers', 'data.folder.cache'}
  if key in free or key.startswith(('checkpoint.', 'evaluate.', 'profile.', 'early_stopping.')):
    configs.check_continues(changed, tmp_path)
    return
  with pytest.raises(UserError) as error:
    configs.check_continues(changed, tmp_path)
  message = one_line(error)
  assert f'{key} was {value!r} and is now {other(value)!r}' in message
  assert '--workdir' in message


def test_continuing_with_keys_that_came_or_went(tmp_path) -> None:
  configs.save(configs.load(ADV), tmp_path)
  with pytest.raises(UserError, match=r'model\.widths was \(32, 64, 128\) and is now None'):
    configs.check_continues(without('model.widths'), tmp_path)
  with pytest.raises(UserError, match=r'model\.extra was None and is now 3'):
    configs.check_continues(with_value('model.extra', 3), tmp_path)
  configs.check_continues(configs.load(ADV), tmp_path / 'new')
