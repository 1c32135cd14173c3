"""A run measured on other data than its own: the numbers, and what stands beside them."""

import csv
import io
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from cifar_jax import commands, data
from cifar_jax.data.cifar_files import CIFAR10_CLASSES
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.predict import any_set, classifier
from cifar_jax.predict.any_set import Request
from cifar_jax.predict.measure import measure
from cifar_jax.trials import test_looks
from cifar_jax.utils.errors import UserError
from tests.helpers import cifar_test_sets
from tests.helpers.cifar_test_sets import images_seen_as


def request(name: str, directory: pathlib.Path | str, **options) -> Request:
  return Request((f'--data.name={name}', f'--data.dir={directory}'), **options)


@pytest.fixture
def named_run(tiny_run, tmp_path):
  """The tiny run, whose classes are called cat, dog, owl and emu, and which forgot its data."""
  run = shutil.copytree(tiny_run, tmp_path / 'run')
  about = json.loads((run / 'about.json').read_text())
  about['class_names'] = ['cat', 'dog', 'owl', 'emu']
  del about['data_fingerprint']
  (run / 'about.json').write_text(json.dumps(about))
  return run


def printed(capsys, *words: str) -> str:
  capsys.readouterr()
  commands.main(['evaluate', *map(str, words)])
  return capsys.readouterr().out


def test_a_folder_of_photographs_of_another_size(named_run, tmp_path, capsys) -> None:
  """Files of a subset of the classes, the accuracy counted from what predict says of each."""
  generator = np.random.default_rng(0)
  for name in ('emu', 'dog'):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for number in range(6):
      pixels = generator.integers(0, 256, (11, 14, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(tmp_path / 'photos' / name / f'{number}.png')
  commands.main(['predict', str(named_run), str(tmp_path / 'photos'), '--format=csv', '--top=1'])
  rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
  right = sum(row['class_1'] == pathlib.Path(row['image']).parent.name for row in rows)
  assert 0 < right < 12
  words = named_run, '--data.name=folder', f'--data.dir={tmp_path / "photos"}'
  found = json.loads(printed(capsys, *words, '--json'))
  assert found['accuracy'] == pytest.approx(right / 12)
  assert (found['split'], found['examples'], found['own_data']) == ('all', 12, False)
  lines = printed(capsys, *words).splitlines()
  assert f"accuracy {100 * right / 12:.2f} % (12 examples, not the run's own data, " in lines[0]
  assert lines[1:] == [
    f'data        {tmp_path / "photos"}',
    'classes     2 classes, matched by name',
  ]


def test_names_and_numbers_of_an_npz(named_run, tiny_data, tmp_path, capsys) -> None:
  with np.load(tiny_data) as arrays:
    content = dict(arrays)
  predicted = classifier.load(named_run).probabilities(content['x_test']).argmax(1)
  expected = float(np.mean(predicted == content['y_test']))
  # Without names they are taken by number.
  found = measure(classifier.load(named_run), request('mine', tiny_data))
  assert found.facts['accuracy'] == pytest.approx(expected)
  assert found.facts['classes_matched'] == 'by number'
  assert 'matched by number' in found.lines[-1]
  # The same classes in another order, one of them by another name.
  order = np.array([2, 0, 3, 1])
  content['y_train'], content['y_test'] = order[content['y_train']], order[content['y_test']]
  names = ['dog', 'emu', 'kitten', 'owl']
  np.savez(tmp_path / 'mine.npz', **content, class_names=np.array(names))
  path = tmp_path / 'mine.npz'
  with pytest.raises(UserError, match=r'classes dog, emu, kitten, owl, but .* lack kitten'):
    measure(classifier.load(named_run), request('mine', path))
  found = measure(classifier.load(named_run), request('mine', path, classes='kitten=cat'))
  assert found.facts['accuracy'] == pytest.approx(expected)
  # Without the kittens.
  kept = content['y_test'] != 2
  found = measure(classifier.load(named_run), request('mine', path, skip_unknown=True))
  assert found.facts['skipped'] == np.sum(~kept)
  with np.load(tiny_data) as arrays:
    right = predicted == arrays['y_test']
  assert found.facts['accuracy'] == pytest.approx(right[kept].mean())
  # A set that has nothing to train on.
  np.savez(path, images=content['x_test'], labels=content['y_test'], class_names=np.array(names))
  found = measure(classifier.load(named_run), request('mine', path, classes='kitten=cat'))
  assert (found.facts['split'], found.facts['examples']) == ('all', len(predicted))
  assert found.facts['accuracy'] == pytest.approx(expected)
  # A command without data has nothing to match.
  with pytest.raises(SystemExit):
    commands.main(['evaluate', str(named_run), '--classes=kitten=cat'])
  assert '--classes is for other data' in capsys.readouterr().err


def test_the_runs_own_data_are_known_and_a_look_at_the_test_set(
  tiny_run, tiny_data, tmp_path, capsys
) -> None:
  (tmp_path / 'study').mkdir()
  (tmp_path / 'study' / 'study.json').write_text('{}')
  run = shutil.copytree(tiny_run, tmp_path / 'study' / 'run')
  about = json.loads((run / 'about.json').read_text())
  (run / 'about.json').write_text(json.dumps({**about, 'split_note': 'test used as validation'}))
  own = json.loads(printed(capsys, run, '--split=test', '--json'))
  words = run, '--data.name=other', f'--data.dir={tiny_data}'
  found = json.loads(printed(capsys, *words, '--json'))
  assert found['own_data']
  assert found['accuracy'] == pytest.approx(own['accuracy'])
  assert found['loss'] == pytest.approx(own['loss'], rel=1e-5)
  assert "the run's own data, test used as validation, ch" in printed(capsys, *words)
  assert len(test_looks.read(tmp_path / 'study')) == 3
  assert 'train images of other' in printed(capsys, *words, '--split=train')
  with np.load(tiny_data) as arrays:
    content = dict(arrays)
  content['x_test'] = content['x_test'][::-1]
  np.savez(tmp_path / 'a.npz', **content)
  assert "not the run's" in printed(
    capsys, run, '--data.name=a', f'--data.dir={tmp_path / "a.npz"}'
  )
  assert len(test_looks.read(tmp_path / 'study')) == 3


def test_what_makes_inputs_is_the_runs_to_say(tiny_run, capsys) -> None:
  for option, sentence in (
    ('pad_to=40', '--data.pad_to is as the run has it'),
    ('folder.resize=crop', '--data.folder.resize is as the run has it'),
    ('nam=x', 'data.nam'),
    ('dir=/no/where', '--data.dir=/no/where does not exist'),
    ('name=cifar10_c', 'the official files come from https://zenodo.org/records/2535967'),
  ):
    with pytest.raises(SystemExit):
      commands.main(['evaluate', str(tiny_run), f'--data.{option}'])
    error = capsys.readouterr().err
    assert sentence in error
    assert '--config.data' not in error


def test_photographs_are_measured(tmp_path) -> None:
  seen, labels = [3, 1, 4, 1, 5], [3, 1, 4, 2, 6]
  folder = cifar_test_sets.write_photographs(tmp_path, images_seen_as(seen), labels)
  network = cifar_test_sets.network(tmp_path / 'run')
  found = measure(network, request('cifar10_1', folder))
  assert found.facts['accuracy'] == 0.6
  expected = -(3 * np.log(0.8) + 2 * np.log(0.2 / 9)) / 5
  assert found.facts['loss'] == pytest.approx(expected)
  assert found.facts['data'] == 'cifar10_1 v6'
  assert not found.own_test


def test_a_table_of_corruptions(tmp_path) -> None:
  labels = [0, 1, 2, 3]
  severities = [[0, 1, 2, 3], [0, 1, 2, 9], [0, 1, 9, 9], [0, 9, 9, 9], [9, 9, 9, 9]]
  seen = {'fog': severities, 'snow': severities[:1] * 5, 'spatter': severities[4:] * 5}
  folder = cifar_test_sets.write_corrupted(tmp_path / 'CIFAR-10-C', labels, seen)
  network = cifar_test_sets.network(tmp_path / 'run')
  found = measure(network, request('cifar10_c', folder))
  errors = {name: row['errors'] for name, row in found.facts['corruptions'].items()}
  assert errors == {'snow': [0.0] * 5, 'fog': [0, 0.25, 0.5, 0.75, 1], 'spatter': [1.0] * 5}
  assert found.facts['mean_error'] == 0.25  # of snow and fog
  assert [(row['corruption'], row['severity']) for row in found.rows[5:7]] == [
    ('fog', 1),
    ('fog', 2),
  ]
  assert found.lines[2].split() == ['fog', '0.00', '25.00', '50.00', '75.00', '100.00', '50.00']
  assert found.lines[3].split()[0] == 'spatter*'
  assert 'mean error 25.00 % over 2 of the 15' in found.lines[4]
  assert found.own_test  # the run's test images, corrupted
  # One of them, in one severity or all.
  for name, accuracy, count in (('fog_3', 0.5, 4), ('fog', 0.5, 20), ('spatter_1', 0.0, 4)):
    one = measure(network, request(f'cifar10_c_{name}', folder))
    assert (one.facts['accuracy'], one.facts['examples']) == (accuracy, count)
    assert one.facts['data'] == f'cifar10_c_{name}'
    assert one.own_test
  with pytest.raises(UserError, match="has no corruption snoww; did you mean 'snow'"):
    measure(network, request('cifar10_c_snoww', folder))
  with pytest.raises(UserError, match='has no corruption fog_6'):
    measure(network, request('cifar10_c_fog_6', folder))
  with pytest.raises(UserError, match='cifar10_c is many sets; name one of its corruptions'):
    any_set.open_set(request('cifar10_c', folder), network)
  # A network of some of the classes, in another order, of which 3 is not one.
  network = cifar_test_sets.network(tmp_path / 'run', [CIFAR10_CLASSES[i] for i in (2, 1, 0)])
  with pytest.raises(UserError, match='which lack cat, deer'):
    measure(network, request('cifar10_c', folder))
  found = measure(network, request('cifar10_c', folder, skip_unknown=True))
  assert (found.facts['examples'], found.facts['skipped']) == (3, 1)
  assert found.facts['corruptions']['snow']['errors'] == pytest.approx([2 / 3] * 5)


def test_people(tmp_path, monkeypatch) -> None:
  labels = np.array([0, 1, 2, 3], np.int32)
  images = images_seen_as([0, 1, 2, 9], 125)
  test = Split(images, labels)
  cifar10 = Dataset('cifar10', test, test, CIFAR10_CLASSES, source='official files')
  monkeypatch.setattr(data, 'load', lambda config: cifar10)
  shares = np.eye(10)[labels]
  shares[0] = [0.5, 0.25, 0.25, 0, 0, 0, 0, 0, 0, 0]
  folder = cifar_test_sets.write_people(tmp_path / 'data', shares)
  network = cifar_test_sets.network(tmp_path / 'run', split_note='test used as validation')
  found = measure(network, request('cifar10h', folder))
  assert "(4 examples, the run's own test images, test used as validation, ch" in found.lines[0]
  right, wrong = -np.log(0.5), -np.log(0.5 / 9)
  expected = (0.5 * right + 0.5 * wrong + 2 * right + wrong) / 4
  assert found.facts['cross_entropy'] == pytest.approx(expected, rel=1e-6)
  assert found.facts['people_entropy'] == pytest.approx(1.5 * np.log(2) / 4)
  assert found.facts['accuracy'] == found.facts['people_accuracy'] == 0.75
  assert found.facts['person_agreement'] == (0.5 + 1 + 1 + 0) / 4
  assert found.facts['people_calibration_error'] == pytest.approx(abs(0.5 - 2.5 / 4))
  assert found.own_test  # the images are those of CIFAR-10's test set
  # The same classes in another order.
  network = cifar_test_sets.network(tmp_path / 'run', CIFAR10_CLASSES[::-1])
  backwards = measure(network, request('cifar10h', folder))
  assert backwards.facts['people_entropy'] == pytest.approx(found.facts['people_entropy'])
  assert backwards.facts['people_accuracy'] == 0  # class 0 is a truck to it
  cifar_test_sets.write_people(tmp_path / 'data', shares[::-1])
  with pytest.raises(UserError, match=r'for 0 % of the images alone; .* not in the same'):
    measure(network, request('cifar10h', folder))
  cifar_test_sets.write_people(tmp_path / 'data', shares[:3])
  with pytest.raises(UserError, match='shares for 3 images, and official files has 4 test images'):
    measure(network, request('cifar10h', folder))
  with pytest.raises(UserError, match='no set of images with a label each'):
    any_set.open_set(request('cifar10h', folder), network)


@pytest.mark.thorough
def test_the_report_on_other_data_has_a_folder_of_its_own(named_run, tiny_data, capsys) -> None:
  pytest.importorskip('matplotlib')
  pytest.importorskip('jinja2')
  about = json.loads((named_run / 'about.json').read_text())
  of_run = {'split_note': 'test used as validation'}
  (named_run / 'about.json').write_text(json.dumps({**about, **of_run}))
  expected = measure(classifier.load(named_run), request('mine', tiny_data)).facts
  words = ['--data.name=my data', f'--data.dir={tiny_data}', '--mistakes=2', '--split=test']
  commands.main(['report', str(named_run), *words])
  out = capsys.readouterr().out
  assert "test images of my data (not the run's own data; 4 classes, matched by number)" in out
  folder = named_run / 'report' / 'my_data'
  assert str(folder / 'index.html') in out
  page = (folder / 'index.html').read_text()
  assert f"other data than its run's: {tiny_data}; 4 classes, matched by number." in page
  assert 'Every accuracy of this run' not in page  # that is of its own data
  found = json.loads((folder / 'scores.json').read_text())
  assert (found['data'], found['split']) == ('my data', 'test')
  assert found['accuracy'] == pytest.approx(expected['accuracy'])
  assert found['loss'] == pytest.approx(expected['loss'])
