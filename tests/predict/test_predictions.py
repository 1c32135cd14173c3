"""python -m cifar_jax predict: what it prints and how it ends."""

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest

from cifar_jax import commands, data
from cifar_jax.predict import classifier
from cifar_jax.utils.errors import UserError

Image = pytest.importorskip('PIL.Image')


@pytest.fixture(scope='module')
def pictures(tiny_run, tmp_path_factory):
  """Three test images as PNG files, and a file that is no picture."""
  folder = tmp_path_factory.mktemp('pictures')
  test = data.load_splits(classifier.load(tiny_run).config).test
  for place in range(3):
    Image.fromarray(test.images[place]).save(folder / f'{place}.png')
  (folder / 'notes.txt').write_text('no picture')
  return folder


def called(capsys, *arguments) -> tuple[int, str, str]:
  status = 0
  try:
    commands.main([str(argument) for argument in arguments])
  except SystemExit as end:
    status = int(end.code or 0)
  out, err = capsys.readouterr()
  return status, out, err


def test_json_are_the_network_s_own_probabilities(capsys, tiny_run, pictures) -> None:
  status, out, err = called(capsys, 'predict', tiny_run, pictures, '--top=4', '--format=json')
  assert status == 1  # for notes.txt
  assert 'notes.txt: no picture' in err
  assert '1 skipped' in err
  network = classifier.load(tiny_run)
  test = data.load_splits(network.config).test
  lines = [json.loads(line) for line in out.splitlines()]
  assert len(lines) == 3
  for line, expected in zip(lines, network.probabilities(test.images[:3]), strict=True):
    found = {each['class']: each['probability'] for each in line['top']}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    np.testing.assert_allclose([found[name] for name in network.class_names], expected, rtol=1e-5)
    assert line['class'] == network.class_names[expected.argmax()]


def test_images_that_the_network_was_not_trained_on_are_refused(tiny_run) -> None:
  """Not answered as if they were others: numbers from 0 to 1 would all be black."""
  network = classifier.load(str(tiny_run))
  images = np.zeros((2, 8, 8, 3), np.uint8)
  assert network.probabilities(images).shape == (2, 4)
  for wrong in (images / 255, images[0], images[:, :7], images[..., :1], images.tolist()):
    with pytest.raises(UserError, match=r'takes images uint8 \[N, 8, 8, 3\] from 0 to 255, not '):
      network.probabilities(wrong)


def test_csv_and_table(capsys, tiny_run, pictures) -> None:
  status, out, _ = called(capsys, 'predict', tiny_run, pictures / '0.png', '--format=csv')
  assert status == 0
  (row,) = csv.DictReader(io.StringIO(out))
  assert row['image'] == str(pictures / '0.png')
  assert float(row['probability_1']) >= float(row['probability_2'])
  status, out, _ = called(capsys, 'predict', tiny_run, pictures / '0.png', '--top=1')
  assert (status, out.count(' %'), out.count('\n')) == (0, 1, 1)


@pytest.fixture(scope='module')
def accented_run(tiny_run, tmp_path_factory):
  """The run, with a class that ASCII does not know."""
  run = tmp_path_factory.mktemp('accented') / 'run'
  shutil.copytree(tiny_run, run)
  about = json.loads((run / 'about.json').read_text())
  about['class_names'] = ['é', 'ö', '猫', 'd']
  (run / 'about.json').write_text(json.dumps(about))
  return run


@pytest.mark.parametrize('form', ['table', 'json', 'csv'])
@pytest.mark.parametrize('encoding', ['ascii', 'cp1252', 'utf-8'])
def test_every_name_is_shown_somehow(
  monkeypatch, accented_run, pictures, tmp_path, form, encoding
) -> None:
  """A class that the terminal does not know, a file whose name is not UTF-8."""
  name = os.path.join(os.fsencode(tmp_path), b'caf\xe9\n.png')
  shutil.copy(pictures / '0.png', name)
  written = io.BytesIO()
  monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, encoding, errors='strict'))
  commands.main(['predict', str(accented_run), os.fsdecode(name), f'--format={form}', '--top=4'])
  text = written.getvalue().decode(encoding)
  assert '\\udce9' in text
  if form != 'json':
    assert ('é' if encoding != 'ascii' else '\\xe9') in text


def test_a_reader_that_goes_away_ends_it_quietly(capsys, monkeypatch, tiny_run, pictures) -> None:
  reading, writing = os.pipe()
  os.close(reading)
  with open(writing, 'w') as output:
    monkeypatch.setattr(sys, 'stdout', output)
    with pytest.raises(SystemExit) as end:
      commands.main(['predict', str(tiny_run), str(pictures)])
  assert end.value.code == 141
  assert capsys.readouterr().err == ''


def test_a_full_disk_is_named(capsys, monkeypatch, tiny_run, pictures) -> None:
  if not os.path.exists('/dev/full'):
    pytest.skip('there is no /dev/full')
  with open('/dev/full', 'w') as output:
    monkeypatch.setattr(sys, 'stdout', output)
    with pytest.raises(SystemExit) as end:
      commands.main(['predict', str(tiny_run), str(pictures / '0.png')])
  assert end.value.code == 2
  assert capsys.readouterr().err == (
    'error: the output cannot be written: No space left on device\n'
  )


def test_many_files_are_predicted_in_batches(capsys, monkeypatch, tiny_run, pictures) -> None:
  """At most a batch of images is in memory; a damaged one among them is named in its place."""
  sizes = []
  probabilities = classifier.Classifier.probabilities

  def counted(network, images):
    sizes.append(len(images))
    return probabilities(network, images)

  monkeypatch.setattr(classifier, 'BATCH', 4)
  monkeypatch.setattr(classifier.Classifier, 'probabilities', counted)
  status, out, err = called(capsys, 'predict', tiny_run, *[pictures] * 5, '--format=json')
  assert (status, len(out.splitlines()), err.count('skipped')) == (1, 15, 6)
  assert max(sizes) <= 4
  assert [json.loads(line)['image'][-5:] for line in out.splitlines()] == [
    '0.png',
    '1.png',
    '2.png',
  ] * 5


def test_batches_of_large_images_are_smaller() -> None:
  assert [classifier.batch_size((side, side, 3)) for side in (32, 64, 224, 5000)] == [
    256,
    256,
    20,
    1,
  ]


@pytest.mark.parametrize(
  ('arguments', 'word'),
  [
    (['predict', 'nowhere', 'x.png'], 'not the folder of a run'),
    (['report', 'nowhere'], 'not the folder of a run'),
    (['serve', 'nowhere'], 'not the folder of a run'),
    (['compare', 'nowhere'], 'does not exist'),
    (['compare', 'tests'], 'holds none'),
    (['compare', 'tests', '--sort=acuracy'], "did you mean 'val_accuracy'"),
    (['lesson', 'relu', 'nowhere.png'], 'nowhere.png'),
    (['data', '--config=configs/nowhere.py'], 'no such file'),
  ],
)
def test_mistakes_are_one_line(capsys, arguments, word) -> None:
  status, out, err = called(capsys, *arguments)
  assert (status, out) == (2, '')
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert word in err


def test_every_verb_shows_an_example(capsys) -> None:
  for verb in ('compare', 'data', 'evaluate', 'lesson', 'predict', 'report', 'serve', 'summary'):
    status, out, _ = called(capsys, verb, '--help')
    assert status == 0
    assert f'  python -m cifar_jax {verb}' in out
