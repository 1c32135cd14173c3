"""The report of a small run: its numbers, that it needs no other file, its looks in a browser."""

import html.parser
import json
import re

import numpy as np
import pytest

from cifar_jax.errors import UserError
from cifar_jax.inference import evaluate, trained
from cifar_jax.report import scores
from tests.report.browser import needs_browser, page_facts

pytest.importorskip('matplotlib')
pytest.importorskip('jinja2')
metrics = pytest.importorskip('sklearn.metrics')

from cifar_jax.report.report import write_report  # noqa: E402


@pytest.fixture(scope='module')
def page(tiny_run):
  found, measured = write_report(tiny_run, mistakes=5)
  return found, measured


def test_numbers_are_those_of_evaluate_and_scikit_learn(tiny_run, page) -> None:
  path, measured = page
  expected = evaluate.evaluate(tiny_run)
  assert measured['accuracy'] == pytest.approx(expected['accuracy'])
  assert measured['loss'] == pytest.approx(expected['loss'], rel=1e-5)
  network = trained.load(tiny_run)
  test = trained.load_splits(network.config).test
  predicted = network.probabilities(test.images).argmax(1)
  saved = json.loads((path.parent / 'scores.json').read_text())
  assert saved['confusion'] == metrics.confusion_matrix(test.labels, predicted).tolist()
  names = list(network.class_names)
  report = metrics.classification_report(
    test.labels, predicted, target_names=names, output_dict=True, zero_division=0.0
  )
  for name in names:
    assert saved['classes'][name] == pytest.approx(report[name])


def test_a_report_overwrites_none_of_another_split_or_checkpoint(tiny_run, page) -> None:
  path, _ = page
  kept = path.read_bytes(), (path.parent / 'scores.json').read_bytes()
  for options, folder in (
    ({'split': 'train'}, 'train'),
    ({'split': 'validation', 'checkpoint': 'best'}, 'validation_best'),
  ):
    found, _ = write_report(tiny_run, mistakes=1, **options)
    assert found == path.parent / folder / 'index.html'
    assert json.loads((found.parent / 'scores.json').read_text())['split'] == options['split']
  assert (path.read_bytes(), (path.parent / 'scores.json').read_bytes()) == kept


def test_page_needs_no_other_file(page) -> None:
  text = page[0].read_text()
  addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
  assert addresses
  for address in addresses:
    assert address.startswith(('data:', '#')), address
  assert '@import' not in text
  # Names of XML are no addresses that a browser fetches.
  assert set(re.findall(r'https?://[^"\s<)]+', text)) <= {
    'http://www.w3.org/1999/xlink',
    'http://www.w3.org/2000/svg',
  }
  html.parser.HTMLParser().feed(text)


def test_page_says_what_the_issue_asks(page) -> None:
  text = page[0].read_text()
  for words in (
    'Training accuracy vs validation accuracy',
    'Learning rate',
    'Images per second',
    '[2] predicted ',
    ' !!!',
    'expected calibration error',
    'Worst confusions',
    'Filters of the first convolution, Conv_0',
    'Feature maps, layer by layer',
    'Grad-CAM',
    'OPERATION',
    'Total params',
    'python -m cifar_jax evaluate',
    'over-fitting',
  ):
    assert words in text, words
  folder = page[0].parent
  for name in ('accuracy', 'loss', 'confusion', 'reliability', 'classes', 'network'):
    assert (folder / f'{name}.svg').stat().st_size > 1000
    assert (folder / f'{name}.png').read_bytes().startswith(b'\x89PNG')


def test_what_comes_from_the_data_is_escaped(tmp_path) -> None:
  from cifar_jax.report import files

  files.write_page(
    tmp_path / 'page.html',
    'compare.html',
    {'title': '<script>x', 'columns': [], 'rows': [('<script>x', [])], 'charts': []},
  )
  assert '<script>x' not in (tmp_path / 'page.html').read_text()


def test_a_folder_that_is_no_run(tmp_path) -> None:
  with pytest.raises(UserError, match='not the folder of a run'):
    write_report(tmp_path)


def test_probabilities_do_not_depend_on_the_batch(tiny_run) -> None:
  network = trained.load(tiny_run)
  images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3)).astype(np.uint8)
  together = network.probabilities(images)
  np.testing.assert_allclose(together[:3], network.probabilities(images[:3]), rtol=1e-5)
  np.testing.assert_allclose(together.sum(1), 1, rtol=1e-5)
  assert network.probabilities(images[:0]).shape == (0, 4)


def test_mistakes_are_wrong(tiny_run) -> None:
  network = trained.load(tiny_run)
  test = trained.load_splits(network.config).test
  probabilities = network.probabilities(test.images)
  wrong = scores.mistakes(probabilities, test.labels)
  assert (probabilities[wrong].argmax(1) != test.labels[wrong]).all()
  assert len(wrong) + (probabilities.argmax(1) == test.labels).sum() == len(test)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize('width', [375, 1200])
@pytest.mark.parametrize('dark', [False, True])
def test_nothing_overflows_and_no_picture_is_missing(page, tmp_path, width, dark) -> None:
  facts = page_facts(page[0].read_text(), tmp_path, width, dark)
  assert facts['width'] <= width
  assert facts['pictures'] > 10
  assert facts['missing'] == 0
  assert (facts['ground'] == 'rgb(20, 24, 28)') is dark
