"""Old names of options and results: in the files of a run, in config files, on the command line."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import cifar_jax
from cifar_jax import config as configs
from cifar_jax.config import migrations, reference
from cifar_jax.utils.errors import UserError
from tests.helpers.config_files import ADV, mistake, one_line, plain, write

OLD_AND_NEW = [  # as they stood in a config.json of format 1, and as they do today
  ('gradient_accumulation', 4, 'grad_accum_steps', 4),
  ('uneven_batch', 'pad', 'pad_to_devices', True),
  ('uneven_batch', 'error', 'pad_to_devices', False),
  ('start_from', 'runs/head', 'init_from', 'runs/head'),
  ('data.last_batch', 'drop', 'data.drop_remainder', True),
  ('data.last_batch', 'keep', 'data.drop_remainder', False),
  ('batch_norm.ghost_rows', 16, 'batch_norm.ghost_batch_size', 16),
  ('optimizer.sharpness_radius', 0.05, 'optimizer.sam_rho', 0.05),
  ('average.name', 'ema', 'weight_averaging.name', 'ema'),
  ('average.decay', 0.9, 'weight_averaging.decay', 0.9),
  ('early_stopping.counting', 'keras2.0', 'early_stopping.patience_semantics', 'keras2.0'),
  ('plateau.counting', 'keras2.0', 'plateau.patience_semantics', 'keras2.0'),
  ('evaluate.last_batch', 'drop', 'evaluate.drop_remainder', True),
  ('evaluate.pictures_every_epochs', 2, 'evaluate.images_every_epochs', 2),
  ('evaluate.mistakes', -1, 'evaluate.max_misclassified', -1),
]
EACH = pytest.mark.parametrize(('old', 'value', 'new', 'today'), OLD_AND_NEW)


@pytest.fixture(autouse=True)
def says_it_again() -> None:
  migrations.note.cache_clear()


def nested(key: str, value: object) -> dict:
  for part in reversed(key.split('.')):
    value = {part: value}
  assert isinstance(value, dict)
  return value


@EACH
def test_a_config_of_format_1(old, value, new, today) -> None:
  content = nested(old, value)
  assert migrations.current_config(content, 'it') == {
    **nested(new.split('.')[0], {}),
    **(
      nested(new, today)
      if '.' not in old or old.startswith('average')
      else {old.split('.')[0]: nested(new, today)[old.split('.')[0]]}
    ),
  }
  assert content == nested(old, value)  # what is read is left alone
  assert plain(configs.of_json(content, 'it'))[new] == today


@EACH
def test_an_old_word_on_the_command_line(old, value, new, today, capsys) -> None:
  config = configs.load(ADV, [f'--config.{old}={value}'])
  assert plain(config) == {**plain(configs.load(ADV)), new: today}
  note = f'note: --config.{old} is now called --config.{new}\n'
  assert capsys.readouterr().err == note


@EACH
def test_an_old_word_in_a_config_file(old, value, new, today, capsys, tmp_path) -> None:
  """Alone, as in no file of use: an average's decay is set where there is no average."""
  path = write(tmp_path, f'config.{old} = {value!r}\nreturn config\n')
  found = configs.override(configs.call_get_config(configs.import_file(path)), [])
  assert plain(found) == {**plain(configs.get_config()), new: today}
  assert found.is_locked
  name, now = ('average', 'weight_averaging') if old.startswith('average') else (old, new)
  assert capsys.readouterr().err == f'note: --config.{name} is now called --config.{now}\n'


def test_a_section_set_as_a_whole_by_its_old_name(capsys, tmp_path) -> None:
  body = """
    from ml_collections import ConfigDict
    config.average = ConfigDict({'name': 'ema', 'decay': 0.5})
    return config
  """
  config = configs.load(write(tmp_path, body))
  assert (config.weight_averaging.name, config.weight_averaging.decay) == ('ema', 0.5)
  assert config.weight_averaging.every_steps is None
  assert 'average' not in config
  assert capsys.readouterr().err.count('\n') == 1


def test_values_that_never_were(tmp_path) -> None:
  with pytest.raises(UserError, match=r'drop_remainder takes true or false, not .pad.') as error:
    configs.load(ADV, ['--config.data.last_batch=pad'])
  one_line(error)
  path = write(tmp_path, "config.data.last_batch = 'pad'\nreturn config\n")
  with pytest.raises(UserError, match=r"line 5: .*drop_remainder must be True or False, not 'pad'"):
    configs.load(path)


def test_validate_names_the_new_word() -> None:
  config = configs.get_config()
  config.gradient_accumulation = 4
  message = mistake(lambda: configs.validate(config))
  assert message == (
    'unknown option --config.gradient_accumulation; it is now called --config.grad_accum_steps'
  )


def test_stored_with_its_format_and_read_again(tmp_path) -> None:
  config = configs.load(ADV, ['--config.grad_accum_steps=4'])
  configs.save(config, tmp_path)
  content = json.loads((tmp_path / 'config.json').read_text())
  assert content['format'] == configs.FORMAT == 2
  assert plain(configs.read(tmp_path)) == plain(config)
  content['gradient_accumulation'] = content.pop('grad_accum_steps')
  del content['format']
  (tmp_path / 'config.json').write_text(json.dumps(content))
  assert plain(configs.read(tmp_path)) == plain(config)
  configs.validate_config_unchanged(config, tmp_path)


def test_newer_and_impossible_formats(tmp_path) -> None:
  configs.save(configs.load(ADV), tmp_path)
  path = tmp_path / 'config.json'
  content = json.loads(path.read_text())
  for number, message in (
    (3, r'config\.json is of format 3, written by a newer version .* up to 2, so use'),
    (0, r'config\.json is damaged \(its format is 0\)'),
    ('two', r"config\.json is damaged \(its format is 'two'\)"),
    (None, r'config\.json is damaged \(its format is None\)'),
  ):
    path.write_text(json.dumps({**content, 'format': number}))
    with pytest.raises(UserError, match=message) as error:
      configs.read(tmp_path)
    one_line(error)


def test_results_of_format_1() -> None:
  old = {
    'remark': 'test used as validation',
    'moving_statistics': 64,
    'multiply_adds': 10**6,
    'operations_per_second': 1e9,
    'waiting_share': 0.1,
    'utilisation': None,
    'parameters': 7,
  }
  new = {
    'split_note': 'test used as validation',
    'non_trainable_params': 64,
    'macs': 10**6,
    'flops_per_second': 1e9,
    'input_bound_fraction': 0.1,
    'mfu': None,
    'parameters': 7,
  }
  assert configs.current_results(old, 'it') == new
  assert configs.current_results({**new, 'format': 2}, 'it') == new
  with pytest.raises(UserError, match='it is of format 9'):
    configs.current_results({'format': 9}, 'it')


def test_a_config_file_beside_a_package_without_a_clone(tmp_path) -> None:
  """As it is installed, without configs/; `from configs import base` is what users have written."""
  (tmp_path / 'site').mkdir()
  package = pathlib.Path(cifar_jax.__file__).parent
  (tmp_path / 'site' / 'cifar_jax').symlink_to(package)
  write(tmp_path, 'config.epochs = 7\nreturn config\n')
  code = (
    'from cifar_jax import config\n'
    "print(config.load('mine.py', ['--config.seed=3']).epochs, config.load('mine.py').seed)\n"
    "print(config.load('configs/base.py').epochs)\n"
  )
  process = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site'), 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert (process.stdout, process.stderr) == ('7 0\n20\n', '')


def test_a_file_that_reads_an_old_option_is_told_the_new_one(tmp_path) -> None:
  body = "if config.data.last_batch == 'keep':\n  pass\nreturn config\n"
  with pytest.raises(UserError, match=r'data\.last_batch is now called data\.drop_remainder$'):
    configs.load(write(tmp_path, body))


@pytest.mark.parametrize(
  ('typed', 'meant'),
  [
    ('averag.name', 'weight_averaging.name'),
    ('data.last_bach', 'data.drop_remainder'),
    ('optimizer.sharpnes_radius', 'optimizer.sam_rho'),
  ],
)
def test_a_mistyped_old_word_leads_to_the_new_one(typed, meant) -> None:
  with pytest.raises(UserError, match=f'did you mean --config.{meant}'):
    configs.load(ADV, [f'--config.{typed}=1'])


def test_options_are_found_by_their_old_names() -> None:
  for old, new in (('last_batch', 'data.drop_remainder'), ('start_from', 'init_from')):
    assert f'--config.{new}=' in reference.search([old])
  assert '--config.epochs=' in reference.search(['--config.epochs'])
