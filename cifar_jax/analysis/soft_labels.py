"""Probabilities of a network against the shares of people who took an image for each class."""

import numpy as np

from cifar_jax.utils.array_types import Probabilities

BINS = 15  # of equal width over 0..1, each of which includes its upper end
_TINY = np.finfo(np.float32).tiny


def against_people(
  probabilities: Probabilities, shares: np.ndarray, bins: int = BINS
) -> dict[str, float]:
  """Measures how well a network predicts what people see.

  Args:
    probabilities: Of the network, float [N, classes].
    shares: Of people, float [N, classes], each row of sum 1.
    bins: The number of bins of the calibration error.

  Returns:
    cross_entropy: -sum p log q, of the network's q with people's p, in nats, mean over the images.
    people_entropy: -sum p log p, people's own: no network's cross-entropy is lower.
    kl_divergence: The difference of these two.
    people_accuracy: How often the network's class is the one that most people chose, or one of
      those where several are chosen equally often.
    person_agreement: How often it is the one that a person drawn at random chose.
    people_calibration_error: The mean over all images of |confidence - share of the people who
      chose the predicted class|, each averaged in the bin of the confidence.
  """
  found = np.asarray(probabilities, np.float64)
  predicted = found.argmax(1)
  rows = np.arange(len(found))
  with_p = np.where(shares > 0, shares, 1.0)
  people_entropy = float(-np.mean(np.sum(shares * np.log(with_p), axis=1)))
  cross_entropy = float(-np.mean(np.sum(shares * np.log(np.maximum(found, _TINY)), axis=1)))
  chosen = shares[rows, predicted]
  confidence = found[rows, predicted]
  bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  gaps = np.abs(np.bincount(bin_of, confidence - chosen, bins))
  return {
    'cross_entropy': cross_entropy,
    'people_entropy': people_entropy,
    'kl_divergence': cross_entropy - people_entropy,
    'people_accuracy': float(np.mean(chosen == shares.max(1))),
    'person_agreement': float(chosen.mean()),
    'people_calibration_error': float(gaps.sum() / len(found)),
  }
