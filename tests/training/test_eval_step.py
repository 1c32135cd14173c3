"""Evaluation counts every example exactly once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.training import evaluation, losses
from cifar_jax.training.losses import Metrics
from cifar_jax.training.tta import TTA_TRANSFORMS
from tests.helpers.pure_steps import (
  EXAMPLES,
  IMAGES,
  LABELS,
  Linear,
  Trainer,
  numpy_losses,
  recipe_of,
)


@pytest.mark.parametrize('tta', sorted(TTA_TRANSFORMS))
def test_test_time_augmentation_is_exact(tta) -> None:
  """Views written out with NumPy; the image's logits are their weighted mean, its loss that of
  these.
  """
  state = Trainer(Linear()).start
  weights, bias = (np.asarray(state.params['Dense_0'][name]) for name in ('kernel', 'bias'))
  pixels = IMAGES / 255
  padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect')
  height, width = IMAGES.shape[1:3]
  up_left, down_right = padded[:, :height, :width], padded[:, 2:, 2:]
  mirrored = [view[:, :, ::-1] for view in (pixels, up_left, down_right)]
  views = {
    'none': [(1, pixels)],
    'flip': [(1 / 2, pixels), (1 / 2, mirrored[0])],
    'flip_translate': [
      *((1 / 4, pixels), (1 / 4, mirrored[0])),
      *((1 / 8, view) for view in (up_left, down_right, *mirrored[1:])),
    ],
  }[tta]
  logits = sum(weight * (view.reshape(EXAMPLES, -1) @ weights + bias) for weight, view in views)
  expected = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(LABELS))
  step = evaluation.make_eval_step(recipe_of(Linear(), tta=tta), 4)
  metrics, start = Metrics.empty(), jnp.zeros((), jnp.int32)
  for _ in range(0, EXAMPLES, 4):
    metrics, start = step(state.params, state.batch_stats, IMAGES, LABELS, start, metrics)
  means = metrics.compute()
  assert float(means['loss']) == pytest.approx(float(jnp.mean(expected)), rel=2e-6)
  assert float(means['accuracy']) == pytest.approx(np.mean(logits.argmax(1) == LABELS), rel=1e-7)


def test_rows_past_the_end_of_a_set_do_not_count() -> None:
  for start in (8, jnp.int32(8)):
    indices, mask = evaluation.evaluation_rows(start, 4, 10)
    assert indices.dtype == np.int32
    assert (indices.tolist(), mask.tolist()) == ([8, 9, 9, 9], [True, True, False, False])


@pytest.mark.parametrize('batch_size', [1, 4, 10, 16])
@pytest.mark.parametrize('images', [IMAGES, IMAGES.reshape(EXAMPLES, -1)], ids=['images', 'rows'])
def test_evaluation_is_exact_for_any_batch_size(batch_size, images) -> None:
  state = Trainer(Linear()).start
  evaluate = evaluation.make_eval_step(recipe_of(Linear()), batch_size)
  metrics, start = Metrics.empty(), jnp.zeros((), jnp.int32)
  evaluate = jax.jit(evaluate)
  for _ in range(0, EXAMPLES, batch_size):
    metrics, start = evaluate(state.params, state.batch_stats, images, LABELS, start, metrics)
  weights, bias = (np.asarray(state.params['Dense_0'][name]) for name in ('kernel', 'bias'))
  _, _, cross_entropies, hits = numpy_losses(weights, bias, np.arange(EXAMPLES))
  means = metrics.compute()
  assert float(means['loss']) == pytest.approx(np.mean(cross_entropies), rel=2e-6)
  assert float(means['accuracy']) == pytest.approx(np.mean(hits), rel=1e-7)
  assert float(metrics.loss.count) == EXAMPLES
