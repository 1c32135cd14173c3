"""Model folders: what is written is what is read, the file is the format's, damage is told."""

import json
import pathlib
import shutil
import struct

import numpy as np
import pytest

from cifar_jax import config as configs
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.trainer.loop import train
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import safetensors_files
from tests.helpers.mutations import mutated
from tests.helpers.only_user_errors import only_user_errors
from tests.helpers.runs import assert_identical, changed

CONTENT = ('about.json', 'config.json', 'model.safetensors')


def write_of(run: pathlib.Path, folder: pathlib.Path, **options) -> model_folder.Written:
  variables, step = model_folder.read_variables(run)
  about = run_files.read_about(run)
  facts = model_folder.facts_about(step, model_folder.data_facts(run))
  config = configs.read(run)
  return model_folder.write(
    folder, config=config, about={**about, **facts}, variables=variables, **options
  )


@pytest.fixture(scope='module')
def exact(tiny_run, tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('models') / 'exact'
  write_of(tiny_run, folder, dtype='float32')
  return folder


def test_the_same_numbers_and_measurements_as_the_run(tiny_run, exact) -> None:
  assert sorted(path.name for path in exact.iterdir()) == list(CONTENT)
  assert_identical(model_folder.read_variables(exact), model_folder.read_variables(tiny_run))
  assert evaluate(exact) == evaluate(tiny_run)
  assert evaluate(exact, split='validation') == evaluate(tiny_run, split='validation')
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
  one, other = (classifier.load(each).probabilities(images) for each in (tiny_run, exact))
  np.testing.assert_array_equal(one, other)


def test_the_library_of_the_format_reads_the_file(tiny_run, exact, tmp_path) -> None:
  numpy_files = pytest.importorskip('safetensors.numpy')
  variables, _ = model_folder.read_variables(tiny_run)
  expected = model_folder.flatten(variables)
  np.testing.assert_equal(numpy_files.load_file(exact / 'model.safetensors'), expected)
  assert 'params/Conv_0/kernel' in expected
  every = {
    'a': np.arange(6, dtype=np.int64).reshape(2, 3),
    'b': np.array(True),
    'c': np.zeros((0, 4), np.float32),
    'd': np.arange(5, dtype=np.float16),
    'e': np.arange(7, dtype='>f8').reshape(7, 1),
    'f': np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4)),
  }
  path = tmp_path / 'every.safetensors'
  safetensors_files.write(path, every, {'step': '3'})
  np.testing.assert_equal(numpy_files.load_file(path), every)
  np.testing.assert_equal(safetensors_files.read(path), every)
  with pytest.raises(ValueError, match='b is of the dtype complex64'):
    safetensors_files.write(path, {'b': np.zeros(2, np.complex64)})


def test_half_precision_says_what_it_changes(tiny_run, tmp_path) -> None:
  written = write_of(tiny_run, tmp_path / 'half')
  assert written.bytes < 0.7 * (write_of(tiny_run, tmp_path / 'whole', dtype='float32')).bytes
  originals = model_folder.flatten(model_folder.read_variables(tiny_run)[0])
  apart = {name: np.abs(a - a.astype(np.float16)).max() for name, a in originals.items()}
  assert written.largest_difference == pytest.approx(float(max(apart.values())), rel=1e-6)
  assert written.where == max(apart, key=lambda name: apart[name])
  # Half a unit in the last of float16's 11 bits.
  largest = max(np.abs(array).max() for array in originals.values())
  assert 0 < written.largest_difference <= largest * 2**-11
  assert evaluate(tmp_path / 'half')['loss'] == pytest.approx(evaluate(tiny_run)['loss'], rel=1e-3)


def small(folder: pathlib.Path, params: dict, **options) -> model_folder.Written:
  return model_folder.write(
    folder,
    config=configs.get_config().lock(),
    about={'class_names': ['a', 'b'], 'image_shape': [2, 2, 1]},
    variables={'params': params, **options.pop('also', {})},
    **options,
  )


def test_float16_that_is_too_small_is_refused_and_nothing_written(tmp_path) -> None:
  kernel = {'Dense_0': {'kernel': np.array([1.0, -7e4], np.float32)}}
  with pytest.raises(UserError, match=r'params/Dense_0/kernel has 7e\+04, and float16 ends at 655'):
    small(tmp_path / 'model', kernel)
  assert list(tmp_path.iterdir()) == []
  small(tmp_path / 'model', kernel, dtype='float32')
  found, step = model_folder.read_variables(tmp_path / 'model')
  np.testing.assert_array_equal(found['params']['Dense_0']['kernel'], [1.0, -7e4])
  assert step == 0


def test_statistics_of_batch_norm_keep_every_bit(tmp_path) -> None:
  """A variance of 1e-7 would be 1.19e-7 in float16, and 1e-8 would be nothing."""
  stats = {'batch_stats': {'BatchNorm_0': {'var': np.array([1e-7, 1e-8], np.float32)}}}
  small(tmp_path / 'model', {'scale': np.ones(2, np.float32)}, also=stats)
  found, _ = model_folder.read_variables(tmp_path / 'model')
  assert_identical(found['batch_stats'], stats['batch_stats'])


def test_what_is_there_is_not_written_over(exact, tmp_path) -> None:
  (tmp_path / 'letters').mkdir()
  (tmp_path / 'letters' / 'dear.txt').write_text('x')
  params = {'w': np.ones(2, np.float32)}
  for replace in (False, True):
    with pytest.raises(UserError, match='letters is there already; choose another folder'):
      small(tmp_path / 'letters', params, replace=replace)
  (tmp_path / 'empty').mkdir()
  small(tmp_path / 'empty', params)
  with pytest.raises(UserError, match='empty is there already'):
    small(tmp_path / 'empty', params)
  small(tmp_path / 'empty', {'w': 2 * np.ones(2, np.float32)}, replace=True)
  assert model_folder.read_variables(tmp_path / 'empty')[0]['params']['w'].tolist() == [2, 2]


@pytest.mark.parametrize(
  'tensors',
  [
    {'weight': np.zeros(2, np.float32)},
    {'params': np.zeros(2, np.float32)},
    {'opt_state/a': np.zeros(2, np.float32)},
    {'params/a': np.zeros(2, np.int32)},
    {'params/' + 'a/' * 5000 + 'b': np.zeros(2, np.float16)},
    {'params/a': np.zeros(2, np.float32), 'params/a/b': np.zeros(2, np.float32)},
  ],
)
def test_weights_of_something_else(tmp_path, tensors) -> None:
  small(tmp_path / 'model', {'w': np.ones(2, np.float32)})
  about = json.loads((tmp_path / 'model' / 'about.json').read_text())
  del about['weights_sha256']
  (tmp_path / 'model' / 'about.json').write_text(json.dumps(about))
  safetensors_files.write(tmp_path / 'model' / 'model.safetensors', tensors)
  with pytest.raises(UserError, match=r'model\.safetensors is (no file of a model folder|damaged)'):
    model_folder.read_variables(tmp_path / 'model')


def test_tensors_in_the_same_place_are_refused(tmp_path) -> None:
  """A small file that says it holds a thousand large arrays."""
  entry = {'dtype': 'F16', 'shape': [1000], 'data_offsets': [0, 2000]}
  header = json.dumps({f'params/{number}': entry for number in range(1000)}).encode()
  path = tmp_path / 'bomb.safetensors'
  path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(2000))
  with pytest.raises(UserError, match='its tensors overlap'):
    safetensors_files.read(path)


def test_which_checkpoints_it_has(exact) -> None:
  _, step = model_folder.read_variables(exact)
  assert step > 0
  for word in ('best', 'latest', str(step)):
    assert_identical(model_folder.read_variables(exact, word), model_folder.read_variables(exact))
  with pytest.raises(UserError, match=rf'whose only weights are those of step {step}: .*t=99999'):
    classifier.load(exact, '99999')
  with pytest.raises(UserError, match=r"only weights are 'latest' and 'best'.*checkpoint=newest"):
    classifier.load(exact, 'newest')


def test_training_does_not_go_on_in_it_but_starts_from_it(exact, tmp_path) -> None:
  before = {path.name: path.read_bytes() for path in exact.iterdir()}
  config = configs.read(exact)
  with pytest.raises(UserError, match=r'is a model folder: .*by --config\.init_from='):
    train(config, exact, Progress('silent'))
  assert {path.name: path.read_bytes() for path in exact.iterdir()} == before
  found, _ = model_folder.read_variables(exact)
  shapes = type('Shapes', (), found)  # as of a state
  start = starting_variables(changed(config, init_from=str(exact)), None, shapes)
  assert_identical(start, found)


def test_paths_of_the_machine_are_taken_out(tiny_run, tmp_path) -> None:
  config = changed(configs.read(tiny_run), init_from=str(tmp_path))
  about = run_files.read_about(tiny_run)
  assert str(tiny_run.anchor) in json.dumps(about)
  found_config, found_about = model_folder.without_places(config, about)
  text = configs.to_json(found_config), found_about
  assert str(tmp_path.parent.parent) not in json.dumps(text)
  assert found_config.data.name == config.data.name
  named = changed(config, init_from='zoo:fast90')  # which every machine has
  assert model_folder.without_places(named, about)[0].init_from == 'zoo:fast90'


def test_data_are_known_by_their_checksums_alone(tiny_run, exact) -> None:
  assert model_folder.data_facts(exact) == model_folder.data_facts(tiny_run)
  assert set(model_folder.data_facts(tiny_run)) == {'data', 'data_sample'}
  assert 'history' not in (exact / 'about.json').read_text()


@pytest.mark.parametrize('count', [15, pytest.param(300, marks=pytest.mark.thorough)])
@pytest.mark.parametrize('name', CONTENT)
def test_damaged_files_get_a_sentence(exact, tmp_path, name, count) -> None:
  """Of the weights, half of the times no checksum tells it, and the reader has to."""
  folder = tmp_path / 'model'
  shutil.copytree(exact, folder)
  about = json.loads((folder / 'about.json').read_text())
  content = (folder / name).read_bytes()
  refused = 0
  for number, damaged in enumerate(mutated(content, count, CONTENT.index(name))):
    if name == 'model.safetensors':
      sealed = {key: value for key, value in about.items() if key != 'weights_sha256' or number % 2}
      (folder / 'about.json').write_text(json.dumps(sealed))
    (folder / name).write_bytes(damaged)
    refused += 1
    with only_user_errors(str(folder)):
      classifier.load(folder)
      refused -= 1
  assert refused > count // 3


@pytest.mark.parametrize(
  ('names', 'sentence'),
  [
    (['\x1b[2J', 'b', 'c', 'd'], r"class_names holds '\\x1b\[2J' of 4 letters"),
    (['a\nerror: b', 'b', 'c', 'd'], r"class_names holds 'a\\nerror: b'"),
    (['', 'b', 'c', 'd'], "class_names holds '' of 0 letters"),
    (['a' * 300, 'b', 'c', 'd'], 'of 300 letters; a name has 1 to 255 printable ones'),
    (['a', 'b', 'b', 'd'], 'holds a name more than once'),
  ],
)
def test_names_of_classes_are_words(exact, tmp_path, names, sentence) -> None:
  """They are printed by every command, and such a folder may come from anywhere."""
  folder = tmp_path / 'model'
  shutil.copytree(exact, folder)
  about = json.loads((folder / 'about.json').read_text())
  (folder / 'about.json').write_text(json.dumps({**about, 'class_names': names}))
  with pytest.raises(UserError, match=sentence):
    classifier.load(folder)


def test_without_its_weights_it_says_so(exact, tmp_path) -> None:
  folder = tmp_path / 'model'
  shutil.copytree(exact, folder)
  (folder / 'model.safetensors').unlink()
  with pytest.raises(UserError, match=r'is a model folder without its model\.safetensors'):
    classifier.load(folder)
