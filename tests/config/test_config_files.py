"""Config files, the copy of a config in a run, and going on with another one."""

import json
from typing import Any

import pytest

from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from configs import cnn_adv
from tests.helpers import REPOSITORY
from tests.helpers.config_files import (
  ADV,
  SHIPPED,
  one_line,
  plain,
  with_value,
  without,
  write,
)

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


def test_missing_file_names_the_nearest(tmp_path, monkeypatch) -> None:
  monkeypatch.chdir(REPOSITORY)
  with pytest.raises(
    UserError, match=r'--config=configs/cnn_avd\.py: .*configs/cnn_adv\.py.?\?$'
  ) as error:
    configs.load('configs/cnn_avd.py')
  one_line(error)
  with pytest.raises(UserError, match=r'--config=nowhere/at\.all\.py: there is no such file$'):
    configs.load('nowhere/at.all.py')
  with pytest.raises(UserError, match=r'^x+\.\.\. \(5000 letters\) is no path that can be used'):
    configs.load('x' * 5000)
  (tmp_path / 'mine.py').write_text('')
  with pytest.raises(UserError, match=r' is a folder; name a file in it: mine\.py$'):
    configs.load(str(tmp_path))


def test_a_config_is_found_from_any_folder(tmp_path, monkeypatch) -> None:
  """Below the home folder, in the clone, or by its name alone; what is here comes first."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path))
  write(tmp_path, 'config.epochs = 7\nreturn config\n')
  for path in ('mine.py', '~/mine.py'):
    assert configs.load(path).epochs == 7
  for path in ('configs/cnn_adv.py', 'cnn_adv', ADV):
    assert plain(configs.load(path)) == plain(configs.load(ADV))
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs/cnn_adv.py').write_text((tmp_path / 'mine.py').read_text())
  assert configs.load('configs/cnn_adv.py').epochs == 7


def test_syntax_error_names_file_and_line(tmp_path) -> None:
  path = write(tmp_path, 'config.epochs = 3\nconfig.batch_size = = 4\n')
  with pytest.raises(UserError, match=r'mine\.py, line 6: SyntaxError') as error:
    configs.load(path)
  one_line(error)


def test_the_line_is_named_for_a_relative_path_too(tmp_path, monkeypatch) -> None:
  (tmp_path / 'early.py').write_text('x = 1\nx / 0\n')
  write(tmp_path, 'config.tags = 1 / 0\nreturn config\n')
  monkeypatch.chdir(tmp_path)
  for name, line in (('mine.py', 5), ('./mine.py', 5), ('early.py', 2)):
    with pytest.raises(UserError, match=rf'{name}, line {line}: ZeroDivisionError'):
      configs.load(name)


@pytest.mark.parametrize(
  ('body', 'line', 'message'),
  [
    ('config.epochs = 3\nconfig.tags = 1 / 0\n', 6, 'ZeroDivisionError'),
    ("config.epochs = '3'\n", 5, 'epochs'),  # another type than the default's
    (
      'config.optimiser.momentum = 0.9\n',
      5,
      "AttributeError: 'optimiser' Did you mean \"optimizer",
    ),
    ("config['optimiser'].momentum = 0.9\n", 5, "KeyError: 'optimiser' Did you mean \"optimizer"),
    ('import nothing_of_this_name\n', 5, 'nothing_of_this_name'),
    ("raise ValueError('two\\nlines')\n", 5, 'two lines'),
    ('raise SystemExit(0)\n', 5, 'SystemExit'),
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
    ('config.epoch = 3', r'unknown option --config\.epoch; did you mean --config\.epochs\?$'),
    ('config.data.mena = (0.5,)', r'.* did you mean --config\.data\.mean\?$'),
    ('config.augment.crop = 4', r'unknown option --config\.augment\.crop'),
    ('config.optimizer.momentun = 0.9', r'.* --config\.optimizer\.momentun; it takes .*beta1'),
    ('config.schedule.warmup = 5', r'.* --config\.schedule\.warmup;'),
    ('config.model.blocks = ()', r"--config\.model\.blocks: .* did you mean 'block'"),
    ('network = config.model; network.widht = 3', r'--config\.model\.widht'),
    ("config.model.update({'widht': 3})", r'--config\.model\.widht'),
    ('config.model.update(widht=3)', r'--config\.model\.widht'),
    ('config.optimizer.learning_rate = -1.0', r'--config\.optimizer\.learning_rate must be'),
  ],
)
def test_what_is_wrong_inside_the_file_names_its_line(tmp_path, line, message) -> None:
  path = write(tmp_path, f'words = "widht blocks"\n{line}\nreturn config\n')
  with pytest.raises(UserError, match=rf'mine\.py, line 6: {message}') as error:
    configs.load(path)
  one_line(error)


def test_what_is_wrong_inside_a_file_that_this_one_reads(tmp_path, monkeypatch) -> None:
  monkeypatch.syspath_prepend(tmp_path)
  write(tmp_path, 'config.epohcs = 3\nreturn config\n')
  (tmp_path / 'mine.py').rename(tmp_path / 'config_of_a_friend.py')
  path = tmp_path / 'other.py'
  path.write_text('from config_of_a_friend import get_config\n')
  with pytest.raises(UserError, match=r'other\.py: unknown option --config\.epohcs; did you mean'):
    configs.load(str(path))


def test_what_is_wrong_on_the_command_line_names_no_file(tmp_path) -> None:
  """Where an override changes what the file may set, the line of that is named."""
  path = write(
    tmp_path, "config.optimizer.name = 'sgd'\nconfig.optimizer.momentum = 0.9\nreturn config"
  )
  config = configs.load(path, ['--config.optimizer.learning_rate=-1.0'])
  with pytest.raises(UserError, match=r'^--config\.optimizer\.learning_rate must be'):
    configs.validate(config)
  with pytest.raises(UserError, match=r"mine\.py, line 6: optimizer 'adam' takes no .*momentum"):
    configs.load(path, ['--config.optimizer.name=adam'])
  assert configs.load(path, ['--config.optimizer.name=adam', '--config.optimizer.momentum=None'])


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
  configs.validate_config_unchanged(config, tmp_path)
  configs.validate_config_unchanged(found, tmp_path)
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


def test_options_newer_than_a_run_have_their_defaults(tmp_path) -> None:
  """`evaluate` of a run that an older version made found no evaluate.drop_remainder."""
  config = configs.load(ADV)
  configs.save(config, tmp_path)
  content = json.loads((tmp_path / 'config.json').read_text())
  del content['evaluate']['drop_remainder'], content['loss']['l1'], content['plateau']
  (tmp_path / 'config.json').write_text(json.dumps(content))
  found = configs.read(tmp_path)
  assert plain(found) == plain(config)
  configs.validate(found)
  configs.validate_config_unchanged(config, tmp_path)
  with pytest.raises(UserError, match=r'loss\.l1 was 0\.0 and is now 0\.1; use the old values'):
    configs.validate_config_unchanged(with_value('loss.l1', 0.1), tmp_path)


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
    'pad_to_devices',
    'steps_per_dispatch',
    'rng',  # which is said in a line
    'tags',
  }
  free |= {'tensorboard', 'data.dir', 'data.placement', 'data.folder.workers', 'data.folder.cache'}
  if key in free or key.startswith(('checkpoint.', 'evaluate.', 'profile.', 'early_stopping.')):
    configs.validate_config_unchanged(changed, tmp_path)
    return
  with pytest.raises(UserError) as error:
    configs.validate_config_unchanged(changed, tmp_path)
  message = one_line(error)
  assert f'{key} was {value!r} and is now {other(value)!r}' in message
  assert '--workdir' in message


def test_continuing_with_keys_that_came_or_went(tmp_path) -> None:
  configs.save(configs.load(ADV), tmp_path)
  with pytest.raises(UserError, match=r'model\.widths was \(32, 64, 128\) and is now None'):
    configs.validate_config_unchanged(without('model.widths'), tmp_path)
  with pytest.raises(UserError, match=r'model\.extra was None and is now 3'):
    configs.validate_config_unchanged(with_value('model.extra', 3), tmp_path)
  configs.validate_config_unchanged(configs.load(ADV), tmp_path / 'new')
