import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.ops.activations import erf_gelu, gelu, reference_gelu
from cifar_jax.ops.dispatch import for_platform

VALUES = np.concatenate([np.linspace(-30, 30, 4001), [0.0, -1e-30, 1e30]]).astype(np.float32)


@pytest.mark.parametrize('form', [reference_gelu, erf_gelu, gelu])
def test_values_and_slopes(form) -> None:
  """x P(x) and P(x) + x p(x), with the normal distribution P and its density p."""
  finite = VALUES[np.abs(VALUES) < 1e3].astype(np.float64)
  normal = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in finite])
  density = np.exp(-np.square(finite) / 2) / math.sqrt(2 * math.pi)
  inputs = jnp.asarray(finite, jnp.float32)
  np.testing.assert_allclose(form(inputs), finite * normal, rtol=3e-7, atol=1e-6)
  slopes = jax.vmap(jax.grad(form))(inputs)
  np.testing.assert_allclose(slopes, normal + finite * density, rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize('form', [reference_gelu, erf_gelu])
def test_far_away(form) -> None:
  np.testing.assert_array_equal(form(jnp.array([2.0**90, -(2.0**90), 0])), [2.0**90, 0, 0])
  assert np.isnan(form(jnp.array(jnp.nan)))
  assert form(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16


def test_gelu_is_by_erf_on_cpu_and_tpu(monkeypatch) -> None:
  """And as XLA has it, by erfc, on GPU and where the kernels for CPU are off."""

  def by_erf(platform: str) -> bool:
    program = str(jax.make_jaxpr(for_platform(gelu, platform))(jnp.ones(3)))
    assert ('erf ' in program) != ('erfc ' in program)
    return 'erfc ' not in program

  assert [by_erf(platform) for platform in ('cpu', 'tpu', 'gpu')] == [True, True, False]
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'off')
  assert [by_erf(platform) for platform in ('cpu', 'tpu', 'gpu')] == [False, True, False]
