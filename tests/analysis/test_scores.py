"""The printed matrices of "CIFAR-10 classification using Keras Tutorial", and scikit-learn."""

import pathlib

import numpy as np
import pytest

from cifar_jax.analysis import scores

metrics = pytest.importorskip('sklearn.metrics')

FIXTURES = pathlib.Path(__file__).parent.parent / 'fixtures' / 'confusion'
CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
# Of the article or computed by hand from its matrices: right predictions, a class's precision,
# recall and F1, and the largest confusions.
PRINTED = {
  'tutorial_4layer': (
    6670,
    {'cat': (0.3698, 0.6520, 0.4720), 'horse': (0.8459, 0.6608, 0.7420)},
    [('dog', 'cat', 233), ('cat', 'dog', 175), ('bird', 'cat', 168), ('frog', 'cat', 157)],
  ),
  'tutorial_6layer': (
    6866,
    {'cat': (0.4419, 0.5700, 0.4978), 'ship': (0.8393, 0.7520, 0.7932)},
    [('dog', 'cat', 211), ('bird', 'deer', 145), ('cat', 'dog', 140), ('frog', 'deer', 121)],
  ),
}


def matrix(name: str) -> np.ndarray:
  return np.loadtxt(FIXTURES / f'{name}.txt', dtype=np.int64)


def examples(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Labels and predictions that have this confusion matrix."""
  true, predicted = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), len(counts))
  return true, predicted


@pytest.mark.parametrize('name', PRINTED)
def test_printed_matrices(name: str) -> None:
  counts = matrix(name)
  right, classes, worst = PRINTED[name]
  true, predicted = examples(counts)
  assert (scores.confusion(true, predicted, 10) == counts).all()
  report = scores.class_report(counts, CLASSES)
  for label, expected in classes.items():
    found = [report[label][key] for key in ('precision', 'recall', 'f1-score')]
    np.testing.assert_allclose(found, expected, atol=5e-5)
  recalled = [report[label]['recall'] * report[label]['support'] for label in CLASSES]
  assert sum(recalled) == pytest.approx(right)
  found = [(CLASSES[t], CLASSES[p], count) for t, p, count in scores.worst_confusions(counts, 4)]
  assert found == worst


@pytest.mark.parametrize('name', PRINTED)
def test_class_report_is_that_of_the_examples_themselves(name: str) -> None:
  counts = matrix(name)
  expected = metrics.classification_report(
    *examples(counts), target_names=list(CLASSES), output_dict=True
  )
  found = scores.class_report(counts, CLASSES)
  for label in (*CLASSES, 'macro avg', 'weighted avg'):
    assert found[label] == pytest.approx(expected[label])


def test_printed_text_has_row_sums_first() -> None:
  lines = scores.matrix_text(matrix('tutorial_4layer'), CLASSES).splitlines()
  assert lines[0].split() == ['airplane', '1000']
  assert lines[7].split() == ['horse', '964']  # as the article prints it
  assert lines[11].split()[1:] == ['599', '5', '74', '98', '55', '14', '12', '9', '117', '17']


def test_classes_without_an_image_or_a_prediction() -> None:
  counts = scores.confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 4)
  assert counts.shape == (4, 4)
  found = scores.class_report(counts, list('abcd'))
  assert found['c']['f1-score'] == 0  # was predicted
  assert 'd' not in found


@pytest.mark.parametrize(
  ('right', 'count', 'expected'),
  [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))],
)
def test_interval_of_an_accuracy(right, count, expected) -> None:
  """Method 3 of Newcombe, "Two-sided confidence intervals for the single proportion", 1998."""
  assert scores.accuracy_interval(right, count) == pytest.approx(expected, abs=5e-5)


def test_calibration_equals_scikit_learn() -> None:
  calibration = pytest.importorskip('sklearn.calibration')
  random = np.random.default_rng(0)
  probabilities = random.dirichlet(np.ones(4), 3000).astype(np.float32)
  labels = random.integers(0, 4, 3000)
  found = scores.calibration(probabilities, labels, bins=10)
  confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
  accuracy, mean = calibration.calibration_curve(right, confidence, n_bins=10)
  used = found.counts > 0
  np.testing.assert_allclose(found.accuracy[used], accuracy)
  np.testing.assert_allclose(found.confidence[used], mean, rtol=1e-6)
  assert found.counts.sum() == 3000
  assert found.error == pytest.approx(np.abs(accuracy - mean) @ found.counts[used] / 3000)


def test_calibration_by_hand() -> None:
  """Two predictions at 0.8, one right; two at 0.6, both right: (0.3 * 2 + 0.4 * 2) / 4."""
  probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]], np.float32)
  found = scores.calibration(probabilities, np.array([0, 1, 0, 0]))
  assert found.error == pytest.approx(0.35, abs=1e-6)


def test_mistakes_come_most_confident_first() -> None:
  probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], np.float32)
  assert scores.mistakes(probabilities, np.array([1, 0, 1, 1])).tolist() == [1, 3, 0]


def test_score_lines_are_those_of_the_article() -> None:
  lines = scores.score_lines(np.array([0.1234, 0.8766]), 0, ('cat', 'dog')).splitlines()
  assert lines == [' 12.3 cat !!!', ' 87.7 dog']
  assert scores.mistake_title(3, 'dog', 'cat') == '[3] predicted dog actual cat'


def test_of_many_classes_the_likely_ones_are_shown() -> None:
  probabilities = np.full(100, 0.001)
  probabilities[40:50] = 0.09
  lines = scores.score_lines(probabilities, 99, [str(index) for index in range(100)]).splitlines()
  assert [line.split()[1] for line in lines] == [*map(str, range(40, 50)), '99']
  assert lines[-1].endswith(' 99 !!!')


def rows(train: list[float], validation: list[float]) -> list[dict[str, float]]:
  return [
    {'epoch': epoch, 'train_loss': t, 'val_loss': v, 'val_accuracy': 1 - v / 2}
    for epoch, (t, v) in enumerate(zip(train, validation, strict=True), start=1)
  ]


@pytest.mark.parametrize(
  ('train', 'validation', 'word'),
  [
    ([1.0, 0.8, 0.6, 0.4], [1.0, 0.9, 1.0, 1.2], 'turned after epoch 2'),
    ([1.0, 0.8, 0.6, 0.4], [1.0, 0.9, 0.8, 0.7], 'No over-fitting'),
    ([1.0, 0.8, 0.9, 1.1], [1.0, 0.9, 1.0, 1.2], 'so did training loss'),
    ([1.0, 0.8], [1.0, 0.9], 'Too few'),
  ],
)
def test_overfitting(train: list[float], validation: list[float], word: str) -> None:
  assert word in scores.overfitting(rows(train, validation))


def test_classes_that_occur_nowhere_count_in_no_average() -> None:
  """100 classes of which a small test set has six, against scikit-learn."""
  random = np.random.default_rng(0)
  true = random.choice([3, 17, 40, 41, 99], 60)
  predicted = np.where(random.random(60) < 0.6, true, 55)
  names = [f'class {number}' for number in range(100)]
  found = scores.class_report(scores.confusion(true, predicted, 100), names)
  expected = metrics.classification_report(
    true,
    predicted,
    target_names=[names[k] for k in (3, 17, 40, 41, 55, 99)],
    output_dict=True,
    zero_division=0.0,
  )
  expected.pop('accuracy')
  assert found.keys() == expected.keys()
  for name, row in expected.items():
    assert found[name] == pytest.approx(row)
  # By hand: the class 55 has recall 0 and counts, the 94 others do not.
  recalls = [found[name]['recall'] for name in list(found)[:6]]
  assert found['macro avg']['recall'] == pytest.approx(sum(recalls) / 6)


@pytest.mark.filterwarnings('error')
def test_few_examples_of_many_classes_give_no_warning() -> None:
  """scikit-learn took 20 labels of 20 classes for a regression problem, and said so."""
  counts = scores.confusion(np.arange(20), np.arange(20)[::-1], 20)
  assert (counts == np.eye(20, dtype=int)[::-1]).all()
  assert scores.class_report(counts, [str(k) for k in range(20)])['macro avg']['recall'] == 0
  nothing = scores.class_report(np.zeros((2, 2), int), ['a', 'b'])
  assert nothing['macro avg']['precision'] == 0


@pytest.mark.parametrize(
  'expected',
  ['a cat', 'an Ankle boot', 'an airplane', 'an otter', 'a unicycle', 'an umbrella', 'an hour hand',
   'a horse', 'an 8', 'an 11', 'an 18', 'a 1', 'a 111', 'an F', 'a B', 'a 猫', 'a European', 'a '],
)  # fmt: skip
def test_articles(expected: str) -> None:
  assert scores.with_article(expected.partition(' ')[2]) == expected
