"""Several labels an image: the loss by hand and as PyTorch has it, scores as scikit-learn does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.training import losses, multi_label, tasks

LOGITS = np.array([[0.5, -2.0, 3.0], [-1.0, 0.25, 0.0], [30.0, -30.0, 1.0]], np.float32)
LABELS = np.array([[1, 0, 1], [0, 1, 1], [0, 1, 0]], np.uint8)


def scored(seed: int, examples: int = 60, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
  """Labels and probabilities with ties; the last class has no image."""
  draw = np.random.default_rng(seed)
  labels = (draw.random((examples, classes)) < [0.5, 0.1, 0.9, 0.3, 0.0]).astype(np.uint8)
  return labels, np.round(draw.random((examples, classes)) * 0.7 + 0.3 * labels, 1).astype(
    'float32'
  )


def by_hand(targets: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The definition, in double precision."""
  p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
  q = 1 / (1 + np.exp(LOGITS.astype(np.float64)))
  terms = -(positive * targets * np.log(p) + (1 - targets) * np.log(q))
  return (weights * terms).sum(1) / 3


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
@pytest.mark.parametrize('weights', [(), (0.5, 2.0, 1.0)])
@pytest.mark.parametrize('positive', [(), (3.0, 0.25, 1.0)])
def test_loss_is_its_definition(smoothing, weights, positive) -> None:
  found = multi_label.binary_cross_entropy(
    jnp.asarray(LOGITS), jnp.asarray(LABELS), smoothing, weights, positive
  )
  targets = LABELS * (1 - smoothing) + smoothing / 2
  expected = by_hand(targets, np.array(positive or 1.0), np.array(weights or 1.0))
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_certain_wrong_answer_costs_its_logit() -> None:
  """log(1 + e^30) is 30, and not the infinity of log(0)."""
  found = multi_label.binary_cross_entropy(jnp.array([[1e4]]), jnp.zeros((1, 1), jnp.uint8))
  np.testing.assert_allclose(found, [1e4])
  slope = jax.grad(lambda x: multi_label.binary_cross_entropy(x, jnp.asarray(LABELS)).sum())
  p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
  np.testing.assert_allclose(slope(jnp.asarray(LOGITS)), (p - LABELS) / 3, rtol=1e-5, atol=1e-7)


def test_loss_is_pytorch_s() -> None:
  torch = pytest.importorskip('torch')
  weights, positive = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([3.0, 0.25, 1.0])
  theirs = torch.nn.BCEWithLogitsLoss(weight=weights, pos_weight=positive, reduction='mean')
  expected = theirs(torch.tensor(LOGITS), torch.tensor(LABELS).float())
  found = multi_label.binary_cross_entropy(
    jnp.asarray(LOGITS), jnp.asarray(LABELS), 0.0, weights.tolist(), positive.tolist()
  )
  np.testing.assert_allclose(found.mean(), float(expected), rtol=1e-6)


def test_balanced_weights_make_both_sides_weigh_the_same() -> None:
  labels, _ = scored(0)
  weights = multi_label.balanced_positive_weights(labels[:, :4])
  with_label = labels[:, :4].sum(0)
  np.testing.assert_allclose(np.array(weights) * with_label, len(labels) - with_label)


def test_the_loss_of_a_mixture_is_that_of_mixed_labels() -> None:
  others, weight = LABELS[::-1], np.array([0.3, 0.8, 0.5], np.float32)
  mixed = losses.MixedLabels(*map(jnp.asarray, (LABELS, others, weight)))
  found = mixed.losses(multi_label.binary_cross_entropy, jnp.asarray(LOGITS))
  targets = weight[:, None] * LABELS + (1 - weight[:, None]) * others
  np.testing.assert_allclose(found, by_hand(targets, np.array(1.0), np.array(1.0)), rtol=1e-6)
  np.testing.assert_array_equal(mixed.main(), [others[0], LABELS[1], LABELS[2]])


@pytest.mark.parametrize('seed', range(5))
def test_scores_are_those_of_scikit_learn(seed) -> None:
  metrics = pytest.importorskip('sklearn.metrics')
  labels, scores = scored(seed)
  present = slice(0, 4)  # of the last class scikit-learn warns, and says 0
  each = metrics.average_precision_score(labels[:, present], scores[:, present], average=None)
  found = [
    multi_label.curve(*pair).average_precision for pair in zip(labels.T, scores.T, strict=True)
  ]
  np.testing.assert_allclose(found[:4], each, rtol=1e-12)
  assert np.isnan(found[4])
  assert multi_label.mean_average_precision(labels, scores) == pytest.approx(each.mean())
  thresholds = (0.5, 0.3, 0.7, 0.4, 0.6)
  counts = multi_label.decisions(labels, scores, thresholds)
  predicted = scores >= np.array(thresholds)
  assert counts.micro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average='micro'))
  assert counts.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average='macro'))
  precision = metrics.precision_score(labels, predicted, average=None, zero_division=0)
  np.testing.assert_allclose(counts.precision, precision)
  recall = metrics.recall_score(labels, predicted, average=None, zero_division=0)
  np.testing.assert_allclose(counts.recall, recall)


@pytest.mark.parametrize('seed', range(5))
def test_no_threshold_has_a_larger_f1(seed) -> None:
  labels, scores = scored(seed)
  chosen = multi_label.best_thresholds(labels, scores)
  best = multi_label.decisions(labels, scores, chosen).f1
  for threshold in np.linspace(0, 1, 101):
    other = multi_label.decisions(labels, scores, [threshold] * 5).f1
    assert (other[:4] <= best[:4] + 1e-12).all()
  assert chosen[4] == 0.5  # a class without an image


def test_thresholds_lie_between_scores() -> None:
  labels = np.array([[1], [1], [0], [0]], np.uint8)
  scores = np.array([[0.9], [0.7], [0.3], [0.1]], np.float32)
  assert multi_label.best_thresholds(labels, scores) == pytest.approx((0.5,))
  assert multi_label.best_thresholds(labels[::-1], scores) == pytest.approx((0.05,))


def test_measure_is_the_mean_of_losses_and_judges_by_its_thresholds() -> None:
  found = multi_label.measure(LOGITS, LABELS, None)
  means = multi_label.binary_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
  assert found['loss'] == pytest.approx(float(means.mean()), rel=1e-6)
  right = multi_label.right_labels(jnp.asarray(LOGITS), jnp.asarray(LABELS))
  # By hand: rows 1 and 2 have 3 and 2 of 3 labels right, the last none.
  assert found['accuracy'] == pytest.approx(5 / 9) == float(right.mean())
  again = multi_label.measure(LOGITS, LABELS, found.pop(multi_label.THRESHOLDS))
  assert again == found


def test_labels_say_what_the_task_is() -> None:
  assert tasks.of_labels(LABELS) is tasks.MULTI_LABEL
  assert tasks.of_labels(LABELS[:, 0]) is tasks.SINGLE_LABEL
  assert tasks.of_about({'task': 'multi_label'}) is tasks.MULTI_LABEL
  assert tasks.of_about({}) is tasks.SINGLE_LABEL
