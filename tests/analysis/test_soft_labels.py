"""What a network's probabilities are worth against those of people."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss

from cifar_jax.analysis.soft_labels import against_people


def test_by_hand() -> None:
  shares = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
  probabilities = np.float32([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]])
  found = against_people(probabilities, shares, bins=4)
  assert found['people_entropy'] == pytest.approx(np.log(2) / 2)
  expected = (-0.5 * np.log(0.25) - 0.5 * np.log(0.5) - np.log(0.125)) / 2
  assert found['cross_entropy'] == pytest.approx(expected)
  assert found['people_accuracy'] == 0.5  # the first image's class is one of two that lead
  assert found['person_agreement'] == 0.25
  # Bins (0.25, 0.5] and (0.5, 0.75]: |0.5 - 0.5| and |0.75 - 0|, an image each.
  assert found['people_calibration_error'] == pytest.approx(0.375)


def test_as_scipy_and_scikit_learn() -> None:
  generator = np.random.default_rng(0)
  shares = generator.dirichlet(np.ones(10) / 3, 200)
  shares[shares < 0.02] = 0
  shares /= shares.sum(1, keepdims=True)
  probabilities = generator.dirichlet(np.ones(10), 200)
  found = against_people(probabilities, shares)
  assert found['kl_divergence'] == pytest.approx(
    stats.entropy(shares, probabilities, axis=1).mean()
  )
  assert found['people_entropy'] == pytest.approx(stats.entropy(shares, axis=1).mean())
  # A person drawn from the shares, weighted by their shares, has the same mean log loss.
  labels, weights = np.tile(np.arange(10), 200), shares.ravel()
  repeated = np.repeat(probabilities, 10, axis=0)
  assert found['cross_entropy'] == pytest.approx(
    log_loss(labels, repeated, sample_weight=weights, labels=np.arange(10))
  )


def test_one_label_for_all_people_is_the_usual_calibration() -> None:
  from cifar_jax.analysis import scores

  generator = np.random.default_rng(2)
  probabilities = generator.dirichlet(np.ones(4), 50)
  labels = generator.integers(4, size=50)
  found = against_people(probabilities, np.eye(4)[labels])
  usual = scores.calibration(probabilities, labels)
  assert found['people_calibration_error'] == pytest.approx(usual.error)
  assert found['people_entropy'] == 0
