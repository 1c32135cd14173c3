"""Activations with a kernel for CPU: ReLU, ReLU6 and GELU; the one of GELU is for TPU too."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.dispatch import target_platform, use_cpu_kernels
from cifar_jax.utils.array_types import Elements


def relu(inputs: Elements) -> Elements:
  """Returns max(x, 0), with gradient 0 at 0."""
  return selected_relu(inputs) if use_cpu_kernels() else reference_relu(inputs)


def reference_relu(inputs: Elements) -> Elements:
  """ReLU as a maximum."""
  return jax.nn.relu(inputs)


@jax.custom_vjp
def selected_relu(inputs: Elements) -> Elements:
  """ReLU as a choice between 0 and x, by which NaN remains NaN.

  Under the flags of `cifar_jax.startup`, XLA writes out a whole array of zeros for the maximum to
  compare with; a choice is computed in one loop. The gradient asks the outputs, which the next
  layer keeps as well, so that the inputs need not be written out.
  """
  return jnp.where(inputs <= 0, 0, inputs)


def _relu_forward(inputs: Elements) -> tuple[Elements, Elements]:
  outputs = selected_relu(inputs)
  return outputs, outputs


def _relu_backward(outputs: Elements, gradient: Elements) -> tuple[Elements]:
  return (jnp.where(outputs <= 0, 0, gradient),)


selected_relu.defvjp(_relu_forward, _relu_backward)


def relu6(inputs: Elements) -> Elements:
  """Returns min(max(x, 0), 6), with gradient 0 at 0 and 6."""
  return clipped_relu6(inputs) if use_cpu_kernels() else reference_relu6(inputs)


def reference_relu6(inputs: Elements) -> Elements:
  """ReLU6 as two extrema; half the gradient passes at 0 and 6."""
  return jax.nn.relu6(inputs)


@jax.custom_vjp
def clipped_relu6(inputs: Elements) -> Elements:
  """ReLU6 as two choices, by which NaN remains NaN; what is kept for the gradient are the outputs,
  which the next layer keeps too.
  """
  return jnp.where(inputs <= 0, 0, jnp.where(inputs >= 6, 6, inputs))


def _relu6_forward(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  outputs = clipped_relu6(inputs)
  return outputs, outputs


def _relu6_backward(outputs: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
  return (jnp.where((outputs > 0) & (outputs < 6), gradient, 0),)


clipped_relu6.defvjp(_relu6_forward, _relu6_backward)


def gelu(inputs: Elements) -> Elements:
  """Returns x times the normal distribution function of x, exactly (Hendrycks and Gimpel, 2016)."""
  by_erf = use_cpu_kernels() or target_platform() == 'tpu'
  return erf_gelu(inputs) if by_erf else reference_gelu(inputs)


def reference_gelu(inputs: Elements) -> Elements:
  """GELU by erfc, which keeps relative precision where the result is nearly 0."""
  return jax.nn.gelu(inputs, approximate=False)


def erf_gelu(inputs: Elements) -> Elements:
  """GELU by erf: absolute errors of 2e-7 times x, as in PyTorch.

  XLA computes erfc by two series and a choice between them, which takes ten times as long on CPU;
  and its compiler for TPU takes twenty times as long for a convolution with erfc behind it.
  """
  return 0.5 * inputs * (1 + lax.erf(inputs * math.sqrt(0.5)))
