"""The weights that come with the package: whole, small, without paths, and as good as they say."""

import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from cifar_jax import commands, data
from cifar_jax import config as configs
from cifar_jax.cards import facts, pack
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import model_folder, references, run_files
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.trainer.loop import train
from cifar_jax.trials import test_looks
from cifar_jax.utils.errors import UserError
from cifar_jax.zoo import entries
from tests.helpers import REPOSITORY
from tests.helpers.runs import assert_identical, changed

NAMES = entries.names()
# The beginning of a path of somebody's machine.
PATH = re.compile(r'(?<![\w.:/])(/(tmp|home|root|work|Users|mnt|data|var|usr|opt)\b|[A-Z]:\\|~/)')


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }


def test_there_are_some_and_they_are_small() -> None:
  assert {'lr', 'fast90', 'quickstart'} <= set(NAMES)
  sizes = [path.stat().st_size for name in NAMES for path in (entries.FOLDER / name).iterdir()]
  assert 0 < sum(sizes) <= entries.MOST_BYTES == 20_000_000


@pytest.mark.parametrize('name', NAMES)
def test_files_are_those_of_the_card(name) -> None:
  folder = entries.find(name)
  known, about = facts.read(folder / 'card.json'), run_files.read_about(folder)
  content = (folder / 'model.safetensors').read_bytes()
  weights = known['weights']
  assert hashlib.sha256(content).hexdigest() == weights['sha256'] == about['weights_sha256']
  assert len(content) == weights['bytes']
  variables, step = model_folder.read_variables(folder)
  assert step == known['trained']['steps'] > 0
  sizes = [array.size for array in model_folder.flatten({'params': variables['params']}).values()]
  assert sum(sizes) == known['parameters'] == about['parameters']
  assert configs.read(folder).model.dtype == 'float32'
  assert (folder / 'README.md').read_text('utf-8').startswith('---\nlicense: apache-2.0\n')


@pytest.mark.parametrize('name', NAMES)
def test_no_path_of_a_machine_is_in_them(name) -> None:
  for path in entries.find(name).iterdir():
    if path.suffix in ('.json', '.md', '.csv'):
      assert not PATH.search(path.read_text('utf-8')), path


def test_the_words_that_are_no_paths() -> None:
  for text in ('"/tmp/data"', ' /home/a', 'C:\\data', '~/data'):
    assert PATH.search(text)
  for text in ('https://huggingface.co/data', 'params/data/var', 'configs/data/'):
    assert not PATH.search(text)


def test_an_unknown_name_gets_the_nearest_and_the_command_that_lists_them() -> None:
  with pytest.raises(
    UserError, match=r"zoo:fats90 is not in the zoo; did you mean 'fast90'\?.*list"
  ):
    references.resolve('zoo:fats90')
  for name in ('../zoo/fast90', '', '.', 'fast90/'):
    with pytest.raises(UserError, match='is not in the zoo'):
      references.resolve(f'zoo:{name}')
  assert references.resolve('runs/fast90') == pathlib.Path('runs/fast90')


def refuse(*_: object) -> None:
  raise AssertionError('something wants the network')


def test_pictures_are_recognized_offline_and_nothing_is_written(monkeypatch, tmp_path) -> None:
  monkeypatch.setattr(socket.socket, 'connect', refuse)
  monkeypatch.chdir(tmp_path)
  before = snapshot(entries.FOLDER)
  network = classifier.load(references.resolve('zoo:quickstart'))
  test = data.load(network.config.data).test
  assert np.mean(network.probabilities(test.images[:32]).argmax(1) == test.labels[:32]) >= 0.9
  assert snapshot(entries.FOLDER) == before
  assert list(tmp_path.iterdir()) == []


def test_what_training_alone_needs_is_not_imported_to_predict() -> None:
  """Each takes between a tenth of a second and a whole one."""
  code = (
    'import sys, numpy as np\n'
    'from cifar_jax.predict import classifier\n'
    "network = classifier.load('zoo:quickstart')\n"
    'assert network.probabilities(np.zeros((1, *network.image_shape), np.uint8)).shape == (1, 10)\n'
    "heavy = {'matplotlib', 'orbax', 'pandas', 'pyarrow', 'requests', 'scipy', 'tensorboard'}\n"
    'assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n'
  )
  environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
  subprocess.run([sys.executable, '-c', code], check=True, env=environment)


@pytest.mark.thorough
def test_evaluation_says_what_the_card_does(monkeypatch, tmp_path, capsys) -> None:
  monkeypatch.chdir(tmp_path)
  before = snapshot(entries.FOLDER)
  commands.main(['evaluate', 'zoo:quickstart', '--json'])
  found = json.loads(capsys.readouterr().out)
  expected, *_ = facts.read(entries.find('quickstart') / 'card.json')['results']
  assert found['examples'] == expected['examples'] == 2000
  assert found['accuracy'] == pytest.approx(expected['accuracy'], abs=1 / 2000)
  assert found['loss'] == pytest.approx(expected['loss'], rel=1e-3)
  assert snapshot(entries.FOLDER) == before
  assert list(tmp_path.iterdir()) == []


def test_no_look_at_a_test_set_is_noted_in_a_study_around_the_package(
  tmp_path, monkeypatch
) -> None:
  (tmp_path / 'study.json').write_text('{}')
  folder = tmp_path / 'zoo'
  (folder / 'fast90').mkdir(parents=True)
  assert test_looks.study_of(folder / 'fast90') == tmp_path.resolve()
  monkeypatch.setattr(entries, 'FOLDER', folder)
  test_looks.record(folder / 'fast90', 'evaluate')
  assert not (tmp_path / 'test_looks.csv').exists()


@pytest.mark.thorough
def test_a_report_is_written_to_the_current_folder(monkeypatch, tmp_path, capsys) -> None:
  pytest.importorskip('matplotlib')
  pytest.importorskip('jinja2')
  before = snapshot(entries.FOLDER)
  monkeypatch.chdir(tmp_path)
  commands.main(['report', 'zoo:quickstart'])
  assert 'reports/zoo_quickstart/index.html' in capsys.readouterr().out
  page = (tmp_path / 'reports' / 'zoo_quickstart' / 'index.html').read_text('utf-8')
  assert 'evaluate zoo:quickstart' in page
  assert snapshot(entries.FOLDER) == before


def test_the_list_has_them_all(capsys) -> None:
  commands.main(['zoo', 'list'])
  text = capsys.readouterr().out
  for name in NAMES:
    assert f'\n{name} ' in text
    assert re.search(rf'^  {name} +python launch\.py --config=configs/', text, re.MULTILINE)
  commands.main(['zoo', 'list', '--format=json'])
  found = {row['name']: row for row in json.loads(capsys.readouterr().out)}
  assert sorted(found) == NAMES
  assert found['fast90']['accuracy'] > 0.89
  assert found['lr']['validated_on'] == 'the test set'
  commands.main(['zoo', 'show', 'fast90'])
  assert '# fast90' in capsys.readouterr().out


def test_training_starts_from_an_entry_and_does_not_go_on_in_it(tmp_path) -> None:
  folder = entries.find('quickstart')
  found, _ = model_folder.read_variables(folder)
  shapes = type('Shapes', (), found)  # as of a state
  config = changed(configs.read(folder), init_from='zoo:quickstart')
  assert_identical(starting_variables(config, None, shapes), found)
  with pytest.raises(UserError, match='is a model folder'):
    train(configs.read(folder), folder, Progress('silent'))


@pytest.mark.parametrize(
  'name', [n if n == 'quickstart' else pytest.param(n, marks=pytest.mark.thorough) for n in NAMES]
)
def test_a_sample_of_real_data_is_recognized_as_the_card_says(name) -> None:
  network = classifier.load(entries.find(name))
  if network.config.data.name != 'synthetic' and not os.environ.get('CIFAR_JAX_DATA'):
    pytest.skip('there are no real data')
  sample = facts.read(entries.find(name) / 'card.json')['sample']
  test = data.load(network.config.data).test
  count = sample['examples']
  found = network.probabilities(test.images[:count]).argmax(1)
  correct = int(np.sum(found == test.labels[:count]))
  assert abs(correct - sample['correct']) <= 2  # rounding on another processor


def packed(run: pathlib.Path, folder: pathlib.Path, **options) -> pathlib.Path:
  said = pack.Said(options.pop('name', 'tiny'), 'For tests.', 'a machine')
  return pack.pack(run, said, folder=folder, **options)


def test_packing_measures_what_it_writes_and_leaves_no_path(tiny_run, tiny_data, tmp_path) -> None:
  with pytest.raises(UserError, match='data'):  # which the entry does not know the place of
    packed(tiny_run, tmp_path)
  assert list(tmp_path.iterdir()) == []
  entry = packed(tiny_run, tmp_path, data_dir=str(tiny_data))
  known = facts.read(entry / 'card.json')
  found = evaluate(entry, data_dir=str(tiny_data))
  (result,) = known['results']
  assert result['accuracy'] == found['accuracy']
  assert result['loss'] == found['loss']
  assert result['loss'] != run_files.read_summary(tiny_run)['test_loss']  # in half precision
  summary = run_files.read_summary(tiny_run)
  assert known['trained']['steps'] == summary['steps'] == found['step']
  assert known['trained']['hardware'] == 'a machine'
  assert found['data'] == 'tiny'  # the training images are known to be those
  for name, content in snapshot(entry).items():
    assert tiny_data.parent.as_posix().encode() not in content, name
    assert str(tiny_run.parent).encode() not in content, name


@pytest.mark.thorough
def test_packing_in_full_precision_replaces_the_entry(tiny_run, tiny_data, tmp_path) -> None:
  entry = packed(tiny_run, tmp_path, data_dir=str(tiny_data))
  assert packed(tiny_run, tmp_path, data_dir=str(tiny_data), dtype='float32') == entry
  (result,) = facts.read(entry / 'card.json')['results']
  assert result['loss'] == evaluate(tiny_run)['loss']


def test_what_is_not_packed(tiny_run, tiny_data, tmp_path, monkeypatch) -> None:
  for name in ('../up', 'a b', '', 'é'):
    with pytest.raises(UserError, match=r'^--name='):
      packed(tiny_run, tmp_path, name=name, data_dir=str(tiny_data))
  with pytest.raises(UserError, match='has not finished'):
    packed(entries.find('lr'), tmp_path)
  monkeypatch.setattr(entries, 'MOST_BYTES', 100)
  with pytest.raises(UserError, match='more than the 100 of the zoo'):
    packed(tiny_run, tmp_path, data_dir=str(tiny_data))
  assert list(tmp_path.iterdir()) == []


def test_other_runs_are_found_in_measured_tables(tmp_path) -> None:
  """Two seeds, one of them measured twice, and another recipe; by hand 0.8 and 0.1414."""
  (tmp_path / 'time_to_accuracy.csv').write_text(
    'config,overrides,seed,test_accuracy,devices\n'
    'configs/a.py,,0,0.1,cpu\nconfigs/a.py,,0,0.7,cpu\nconfigs/a.py,,1,0.9,cpu\n'
    'configs/b.py,,0,0.2,cpu\n'
  )
  (tmp_path / 'reproduction.csv').write_text(
    'system,our_epochs,n,our_accuracy,our_std,our_precision,our_hardware\n'
    'a,3,1,81.5,,float32,cpu\na,4,1,99,,float32,cpu\na,3,,,,,\n'
  )
  seeds, single = pack.known_results(tmp_path, {'config': 'a', 'epochs': 3})
  assert (seeds['n'], seeds['mean']) == (2, 0.8)
  assert seeds['sd'] == pytest.approx(0.2 / 2**0.5, abs=1e-6)
  assert (single['n'], single['mean'], single['sd']) == (1, 0.815, None)


def test_entries_are_compared_by_what_their_cards_say(capsys) -> None:
  commands.main(['compare', 'zoo:lr', '--format=json', '--columns=run,test_accuracy,state'])
  (row,) = json.loads(capsys.readouterr().out)
  expected, *_ = facts.read(entries.find('lr') / 'card.json')['results']
  assert row == {'run': 'lr', 'test_accuracy': expected['accuracy'], 'state': 'weights'}


def test_a_forgotten_prefix_is_hinted_at(tmp_path, monkeypatch) -> None:
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match='no folder here; the entry of the zoo is zoo:fast90'):
    references.resolve('fast90')
  (tmp_path / 'fast90').mkdir()
  assert references.resolve('fast90') == pathlib.Path('fast90')
