"""python -m cifar_jax predict: what it prints and how it ends."""

import csv
import io
import json

import numpy as np
import pytest

from cifar_jax import commands
from cifar_jax.inference import trained

Image = pytest.importorskip('PIL.Image')


@pytest.fixture(scope='module')
def pictures(tiny_run, tmp_path_factory):
  """Three test images as PNG files, and a file that is no picture."""
  folder = tmp_path_factory.mktemp('pictures')
  test = trained.load_splits(trained.load(tiny_run).config).test
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
  network = trained.load(tiny_run)
  test = trained.load_splits(network.config).test
  lines = [json.loads(line) for line in out.splitlines()]
  assert len(lines) == 3
  for line, expected in zip(lines, network.probabilities(test.images[:3]), strict=True):
    found = {each['class']: each['probability'] for each in line['top']}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    np.testing.assert_allclose([found[name] for name in network.class_names], expected, rtol=1e-5)
    assert line['class'] == network.class_names[expected.argmax()]


def test_csv_and_table(capsys, tiny_run, pictures) -> None:
  status, out, _ = called(capsys, 'predict', tiny_run, pictures / '0.png', '--format=csv')
  assert status == 0
  (row,) = csv.DictReader(io.StringIO(out))
  assert row['image'] == str(pictures / '0.png')
  assert float(row['probability_1']) >= float(row['probability_2'])
  status, out, _ = called(capsys, 'predict', tiny_run, pictures / '0.png', '--top=1')
  assert (status, out.count(' %'), out.count('\n')) == (0, 1, 1)


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


def test_a_missing_package_names_the_pip_command() -> None:
  from cifar_jax.errors import UserError
  from cifar_jax.report.extras import require

  with pytest.raises(UserError, match=r"pip install -e '\.\[look\]'"):
    require('look', 'a_package_that_nobody_has')
