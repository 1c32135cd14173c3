"""Twenty updates of airbench94 are those of its author's recipe in plain Flax, Optax and NumPy."""

import jax
import numpy as np
import pytest

from configs.airbench94 import get_config
from tests.reference.input_path import Inputs, normalization
from tests.reference.rules import airbench94
from tests.reference.systems import SYSTEMS, assert_same, compared, pictures
from tests.reference.ways import CHANNEL, WAYS

SYSTEM = SYSTEMS['airbench94']
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
INPUTS = Inputs(mean=MEAN, std=STD, flip='alternating', crop_padding=2)


def whitening(images: np.ndarray) -> np.ndarray:
  """float64 [2, 2, 3, 24]: eigenvectors of the patches' second moment by their deviation, and their
  negations.
  """
  patches = np.lib.stride_tricks.sliding_window_view(images, (2, 2), (1, 2))  # N, y, x, c, h, w
  flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
  variances, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
  filters = (vectors / np.sqrt(variances + 5e-4))[:, ::-1]
  return np.concatenate([filters, -filters], axis=1).reshape(2, 2, 3, 24)


@pytest.mark.parametrize(
  ('inputs', 'way'),
  [
    pytest.param(INPUTS, 'one device', marks=pytest.mark.thorough),
    *(pytest.param(INPUTS, way, marks=pytest.mark.slow) for way in WAYS if way != 'one device'),
    pytest.param(Inputs(**CHANNEL, flip='random'), 'one device', marks=pytest.mark.slow),
  ],
)
def test_losses_and_parameters(tmp_path, inputs, way) -> None:
  images = pictures(SYSTEM)['x_train']
  kernel = whitening(normalization(inputs, images)(images / 255))
  found, expected = compared('airbench94', tmp_path, inputs, kernel, **WAYS[way])
  assert_same(found, expected, SYSTEM)


def test_rate_and_decay_are_those_of_the_article() -> None:
  """A gradient of 1 in the first update: the rates of 0.2 * 1.5 and 64 times that, with Nesterov's
  1.85, and decay of the same strength for both.
  """
  assert get_config().optimizer.learning_rate == 1.5
  params = {
    'whitening': {'kernel': np.ones((2, 2)), 'bias': np.ones(2)},
    'Group_0': {'BatchNorm_0': {'bias': np.ones(2)}, 'Conv_0': {'kernel': np.ones((2, 2))}},
  }
  rule = airbench94(20, 5)
  new, _ = rule.update(jax.tree.map(np.ones_like, params), rule.init(params), params, 0)
  group = new['Group_0']
  moved = 1.85 * (1 + 0.0153 / 11.5)
  np.testing.assert_allclose(group['Conv_0']['kernel'], 1 - 0.3 * moved, rtol=1e-5)
  np.testing.assert_allclose(new['whitening']['bias'], 1 - 0.3 * moved, rtol=1e-5)
  moved = 1.85 * (1 + 0.0153 / 11.5 / 64)
  np.testing.assert_allclose(group['BatchNorm_0']['bias'], 1 - 64 * 0.3 * moved, rtol=1e-5)
  np.testing.assert_array_equal(new['whitening']['kernel'], 1)
