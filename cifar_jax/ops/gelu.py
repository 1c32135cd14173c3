"""The Gaussian error linear unit."""

import math

import jax
from jax import lax

from cifar_jax.ops.forms import use_cpu_forms


def gelu(inputs: jax.Array) -> jax.Array:
  """x times the normal distribution function of x (Hendrycks and Gimpel, 2016), not approximated.

  Args:
    inputs: floating point, any shape.
  """
  return erf_gelu(inputs) if use_cpu_forms() else plain_gelu(inputs)


def plain_gelu(inputs: jax.Array) -> jax.Array:
  """The same by erfc, which keeps relative precision where the result is nearly 0."""
  return jax.nn.gelu(inputs, approximate=False)


def erf_gelu(inputs: jax.Array) -> jax.Array:
  """The same by erf: absolute errors of 2e-7 times x, as in PyTorch.

  XLA's CPU backend computes erfc by two series and a choice between them, which takes ten times as
  long.
  """
  return 0.5 * inputs * (1 + lax.erf(inputs * math.sqrt(0.5)))
