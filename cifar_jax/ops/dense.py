"""The product of a fully connected layer."""

import jax.numpy as jnp

from cifar_jax.ops import onednn
from cifar_jax.ops.dispatch import use_library_calls
from cifar_jax.utils.array_types import Inputs, Matrix, Outputs, PerFeature


def dense(inputs: Inputs, kernel: Matrix, bias: PerFeature | None) -> Outputs:
  """Multiplies the last axis by a matrix and adds the bias, all of one dtype.

  Vectors, as in the heads of convolutional networks, are left to XLA: their products are small, and
  a program that calls oneDNN cannot be kept.
  """
  if inputs.ndim > 2 and use_library_calls(inputs.dtype):
    return onednn.dense(inputs, kernel, bias)
  return reference_dense(inputs, kernel, bias)


def reference_dense(inputs: Inputs, kernel: Matrix, bias: PerFeature | None) -> Outputs:
  """Multiplies by XLA's own product; arguments as for `dense`."""
  outputs = jnp.dot(inputs, kernel)
  return outputs if bias is None else outputs + bias.reshape((1,) * (outputs.ndim - 1) + (-1,))
