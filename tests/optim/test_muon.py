"""Muon against NumPy in float64; the iteration runs in bfloat16, 2**-8 of a value fine."""

import jax
import numpy as np
import optax
import pytest

from cifar_jax.optim import muon

GENERATOR = np.random.default_rng(5)


def newton_schulz(matrix: np.ndarray, a=3.4445, b=-4.7750, c=2.0315) -> np.ndarray:
  """Three quintic iterations on the matrix [filters, rest], as Jordan (2024) describes them."""
  x = matrix / np.linalg.norm(matrix)
  tall = x.shape[0] > x.shape[1]
  x = x.T if tall else x
  for _ in range(3):
    square = x @ x.T
    x = a * x + b * square @ x + c * square @ square @ x
  return x.T if tall else x


@pytest.mark.parametrize('shape', [(8, 8), (16, 54), (54, 16), (3, 200)])
def test_orthogonalize(shape) -> None:
  matrix = GENERATOR.standard_normal(shape)
  found = np.asarray(muon.orthogonalize(matrix.astype(np.float32)))
  expected = newton_schulz(matrix)
  assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_orthogonalize_moves_singular_values_near_one() -> None:
  left, _ = np.linalg.qr(GENERATOR.standard_normal((12, 12)))
  right, _ = np.linalg.qr(GENERATOR.standard_normal((40, 12)))
  values = np.geomspace(1, 0.1, 12)
  matrix = (1e-3 * left * values @ right.T).astype(np.float32)
  found = np.asarray(muon.orthogonalize(matrix))
  np.testing.assert_allclose(np.linalg.svd(found)[1], 0.95, atol=0.35)
  # The singular vectors stay: the matrix is still diagonal between them.
  middle = left.T @ found @ right
  assert np.abs(middle - np.diag(np.diag(middle))).max() < 0.03


@pytest.mark.parametrize('nesterov', [True, False])
def test_five_updates(nesterov) -> None:
  shapes = {'wide': (3, 3, 2, 5), 'tall': (3, 3, 1, 16)}
  params = {k: GENERATOR.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
  gradients = [
    {k: (1e-3 * GENERATOR.standard_normal(s)).astype(np.float32) for k, s in shapes.items()}
    for _ in range(5)
  ]
  transformation = muon.airbench_muon(optax.linear_schedule(0.24, 0.0, 10), 0.6, nesterov)
  state, found = transformation.init(params), params
  update = jax.jit(transformation.update)
  expected = {k: p.astype(np.float64) for k, p in params.items()}
  velocity = {k: np.zeros(s) for k, s in shapes.items()}
  for t, gradient in enumerate(gradients):
    step, state = update(gradient, state, found)
    found = optax.apply_updates(found, step)
    for k, shape in shapes.items():
      filters = shape[-1]
      velocity[k] = 0.6 * velocity[k] + gradient[k]
      direction = gradient[k] + 0.6 * velocity[k] if nesterov else velocity[k]
      rows = np.moveaxis(direction, -1, 0)
      orthogonal = np.moveaxis(newton_schulz(rows.reshape(filters, -1)).reshape(rows.shape), 0, -1)
      renormalized = expected[k] * np.sqrt(filters) / np.linalg.norm(expected[k])
      expected[k] = renormalized - 0.24 * (1 - t / 10) * orthogonal
      assert np.linalg.norm(found[k] - expected[k]) < 0.01 * np.linalg.norm(expected[k])


def test_decay_coefficients_and_rare_renormalization() -> None:
  """As in the speedrun of Hive (2025): the norm is restored before every third update alone."""
  param = GENERATOR.standard_normal((3, 3, 2, 5)).astype(np.float32)
  coefficients = (3.4576, -4.7391, 2.0843)
  transformation = muon.airbench_muon(lambda count: 0.1, 0.0, False, 0.5, coefficients, 3)
  state, found, expected = transformation.init(param), param, param.astype(np.float64)
  update = jax.jit(transformation.update)
  for count in (1, 2, 3, 4):
    gradient = GENERATOR.standard_normal(param.shape).astype(np.float32)
    step, state = update(gradient, state, found)
    found = optax.apply_updates(found, step)
    if count == 3:
      expected *= np.sqrt(5) / np.linalg.norm(expected)
    orthogonal = newton_schulz(gradient.reshape(-1, 5).T, *coefficients).T.reshape(param.shape)
    expected = (expected - 0.1 * orthogonal) * (1 - 0.1 * 0.5)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)
