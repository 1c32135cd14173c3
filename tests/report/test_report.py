"""The report of a small run: its numbers, that it needs no other file, its looks in a browser."""

import html.parser
import json
import re
import types

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.analysis import scores
from cifar_jax.data.dataset import Split
from cifar_jax.data.matching import match_classes
from cifar_jax.figures import files
from cifar_jax.predict import classifier, evaluate
from cifar_jax.predict.any_set import OtherSet
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer.loop import train
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.browser import needs_browser, page_facts
from tests.helpers.webdriver import Driver, needs_driver

pytest.importorskip('matplotlib')
pytest.importorskip('jinja2')
metrics = pytest.importorskip('sklearn.metrics')
image = pytest.importorskip('PIL.Image')

from cifar_jax.report import report  # noqa: E402
from cifar_jax.report.report import write_report  # noqa: E402

ODD_NAMES = ('<script>alert(1)</script>', '猫と犬', '<b>$x^{2$</b>', 'Ankle boot', 'of no image')


@pytest.fixture(scope='module')
def page(tiny_run):
  found, measured = write_report(tiny_run, mistakes=5, image=3)
  return found, measured


def test_numbers_are_those_of_evaluate_and_scikit_learn(tiny_run, page) -> None:
  path, measured = page
  expected = evaluate.evaluate(tiny_run)
  assert measured['accuracy'] == pytest.approx(expected['accuracy'])
  assert measured['loss'] == pytest.approx(expected['loss'], rel=1e-5)
  network = classifier.load(tiny_run)
  test = data.load_splits(network.config).test
  predicted = network.probabilities(test.images).argmax(1)
  saved = json.loads((path.parent / 'scores.json').read_text())
  assert saved['confusion'] == metrics.confusion_matrix(test.labels, predicted).tolist()
  names = list(network.class_names)
  of_classes = metrics.classification_report(
    test.labels, predicted, target_names=names, output_dict=True, zero_division=0.0
  )
  for name in names:
    assert saved['classes'][name] == pytest.approx(of_classes[name])


@pytest.mark.thorough
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


@pytest.mark.parametrize(
  ('own', 'synthetic', 'note', 'data_note'),
  [
    (True, False, 'test used as validation', ''),
    (False, False, '', 'somewhere; 2 classes, matched by name'),
    (False, True, '', 'somewhere, synthetic; 2 classes, matched by name'),
  ],
)
def test_the_note_about_the_split_is_of_the_runs_own_data(
  own, synthetic, note, data_note, tmp_path, monkeypatch
) -> None:
  about = {'class_names': ['a', 'b'], 'image_shape': [1, 1, 1]}
  (tmp_path / 'about.json').write_text(
    json.dumps({**about, 'split_note': 'test used as validation'})
  )
  other = OtherSet(
    name='other',
    split='test',
    examples=Split(np.zeros((1, 1, 1, 1), np.uint8), np.zeros(1, np.int32)),
    matching=match_classes(('a', 'b'), ('a', 'b'), 'somewhere'),
    source='somewhere',
    own=own,
    synthetic=synthetic,
  )
  monkeypatch.setattr(report, '_write', lambda network, subject, *_: subject)
  subject = report.write_report_on(types.SimpleNamespace(run=tmp_path), other)
  assert (subject.note, subject.data_note) == (note, data_note)
  assert subject.validation == 'test used as validation'  # the curves are of the run


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


def test_page_has_every_section_and_every_chart(page) -> None:
  text = page[0].read_text()
  for words in (
    'Training accuracy vs validation accuracy',
    'Learning rate',
    'Images per second',
    '[2] predicted ',
    ' !!!',
    'expected calibration error',
    'its 95 % interval',
    'Worst confusions',
    'Filters of the first layer, Conv_0',
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
    html.parser.HTMLParser().feed((folder / f'{name}.svg').read_text())
    with image.open(folder / f'{name}.png') as drawn:
      assert len(drawn.convert('RGB').getcolors(1 << 20)) > 10, name


DRAWINGS = ('one_each', 'ten_each', 'random', 'balance')  # are markup
DATA_PAGE = ('title', 'facts', 'augmentation', 'augment', *DRAWINGS)


def test_what_comes_from_the_data_is_escaped(tmp_path) -> None:
  files.write_page(tmp_path / 'page.html', 'data.html', dict.fromkeys(DATA_PAGE, '<script>x'))
  text = (tmp_path / 'page.html').read_text()
  assert text.count('<script>x') == len(DRAWINGS)
  assert '<h1>&lt;script&gt;x' in text


def test_a_file_name_that_is_not_utf8_does_not_stop_a_page(tmp_path) -> None:
  content = {**dict.fromkeys(DATA_PAGE, ''), 'title': 'caf\udce9.png'}
  files.write_page(tmp_path / 'page.html', 'data.html', content)
  assert 'caf?.png' in (tmp_path / 'page.html').read_text('utf-8')


def test_a_folder_that_is_no_run(tmp_path) -> None:
  with pytest.raises(UserError, match='not the folder of a run'):
    write_report(tmp_path)


def test_probabilities_do_not_depend_on_the_batch(tiny_run) -> None:
  network = classifier.load(tiny_run)
  images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3)).astype(np.uint8)
  together = network.probabilities(images)
  np.testing.assert_allclose(together[:3], network.probabilities(images[:3]), rtol=1e-5)
  np.testing.assert_allclose(together.sum(1), 1, rtol=1e-5)
  assert network.probabilities(images[:0]).shape == (0, 4)


def test_mistakes_are_wrong(tiny_run) -> None:
  network = classifier.load(tiny_run)
  test = data.load_splits(network.config).test
  probabilities = network.probabilities(test.images)
  wrong = scores.mistakes(probabilities, test.labels)
  assert (probabilities[wrong].argmax(1) != test.labels[wrong]).all()
  assert len(wrong) + (probabilities.argmax(1) == test.labels).sum() == len(test)


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
  """A run of one epoch with label smoothing, on classes with odd names and one without an image."""
  folder = tmp_path_factory.mktemp('odd')
  random = np.random.default_rng(0)
  arrays = {}
  for split, count in (('train', 60), ('test', 30)):
    arrays[f'x_{split}'] = random.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    arrays[f'y_{split}'] = np.arange(count) % 4
  np.savez(folder / 'odd.npz', **arrays, class_names=np.array(ODD_NAMES))
  config = tiny.get_config()
  config.update({'epochs': 1, 'tags': ('<img src=x>',)})
  config.data.update({'name': 'odd', 'dir': str(folder / 'odd.npz'), 'validation': '8'})
  config.loss.label_smoothing = 0.3
  train(config.lock(), folder / '<i>run', Progress('silent'))
  return folder / '<i>run'


@pytest.fixture(scope='module')
def odd_page(odd):
  """Its page on the test images, with a look at one of them, and what was measured."""
  return write_report(odd, image=3)


@pytest.mark.thorough
@pytest.mark.parametrize('split', ['test', 'validation'])
def test_loss_is_the_plain_cross_entropy(odd, odd_page, split) -> None:
  """The mean of -log p of the true class, whatever was minimized, here and in evaluate."""
  _, measured = odd_page if split == 'test' else write_report(odd, split=split, mistakes=0)
  network = classifier.load(odd)
  chosen = getattr(data.load_splits(network.config), split)
  probabilities = network.probabilities(chosen.images).astype(np.float64)
  by_hand = -np.log(probabilities[np.arange(len(chosen)), chosen.labels]).mean()
  assert measured['loss'] == pytest.approx(by_hand, rel=1e-5)
  assert evaluate.evaluate(odd, split=split)['loss'] == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.thorough
def test_names_tags_and_folders_are_text(odd_page) -> None:
  """Nothing that comes from data, config or file names becomes markup."""
  page, _ = odd_page
  text = page.read_text()
  for tag in ('<script>alert', '<img src=x', '<i>run', '<b>'):
    assert tag not in text.replace('<div class="tile"><b>', ''), tag
  assert '&lt;img src=x&gt;' in text
  assert '&lt;i&gt;run' in text
  assert '猫' in text
  assert 'image 3, an Ankle boot' in text
  assert 'a Ankle' not in text


@needs_driver
@pytest.mark.slow
@pytest.mark.parametrize('width', [375, 1200])
def test_marks_are_seen_and_the_text_of_charts_can_be_read(odd, width) -> None:
  page, _ = write_report(odd)
  whole = 'each => each.scrollWidth <= each.clientWidth'
  with Driver(width, False) as driver:
    driver.open(page.absolute().as_uri())
    assert driver.run('document.querySelectorAll(".gallery pre").length') > 5
    assert driver.run(f'[...document.querySelectorAll(".gallery pre, .chart")].every({whole})')
    heights = driver.run(
      '[...document.querySelectorAll(".pair .chart svg text")]'
      '.map(each => each.getBoundingClientRect().height)'
    )
    assert min(heights) >= 9


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
