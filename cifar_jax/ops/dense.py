"""The product of a fully connected layer."""

import jax
import jax.numpy as jnp

from cifar_jax.ops.batch_partitioned import batch_partitioned
from cifar_jax.ops.dispatch import use_library_calls
from cifar_jax.ops.onednn import call_matmul
from cifar_jax.utils.array_types import Inputs, Matrix, Outputs, PerFeature

_BATCH_AND_OTHERS = 'bstuvwxyz'  # names of the axes of rows


def dense(inputs: Inputs, kernel: Matrix, bias: PerFeature | None) -> Outputs:
  """Multiplies the last axis by a matrix and adds the bias, all of one dtype.

  Vectors, as in the heads of convolutional networks, are left to XLA: their products are small, and
  a program that calls oneDNN cannot be kept.
  """
  if inputs.ndim > 2 and use_library_calls(inputs.dtype):
    return library_dense(inputs, kernel, bias)
  return reference_dense(inputs, kernel, bias)


def reference_dense(inputs: Inputs, kernel: Matrix, bias: PerFeature | None) -> Outputs:
  """Multiplies by XLA's own product; arguments as for `dense`."""
  outputs = jnp.dot(inputs, kernel)
  return outputs if bias is None else outputs + bias.reshape((1,) * (outputs.ndim - 1) + (-1,))


@jax.custom_vjp
def library_dense(inputs: Inputs, kernel: Matrix, bias: PerFeature | None) -> Outputs:
  """Multiplies the last axis by a matrix and adds the bias, by oneDNN.

  Args:
    inputs: Rows in any number of axes, the first of which is the batch; float32 or bfloat16, sums
      are float32.
    kernel: The matrix, of the same dtype.
    bias: What is added, of the same dtype, or None.
  """
  return _rows_times(inputs, kernel, bias, transposed=False)


_Kept = tuple[jax.Array, jax.Array, jax.Array | None]


def _forward(
  inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> tuple[jax.Array, _Kept]:
  return library_dense(inputs, kernel, bias), (inputs, kernel, bias)


def _backward(kept: _Kept, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
  inputs, kernel, bias = kept
  rows = ' '.join(_BATCH_AND_OTHERS[: inputs.ndim - 1])

  def product(inputs: jax.Array, gradient: jax.Array) -> jax.Array:
    flat = (array.reshape(-1, array.shape[-1]) for array in (inputs, gradient))
    return call_matmul(*flat, transpose_a=True, dtype=jnp.float32)

  divided = batch_partitioned(product, f'{rows} i, {rows} o -> i o', (True, True), summed=True)
  to_kernel = divided(inputs, gradient).astype(kernel.dtype)
  to_bias = None
  if bias is not None:
    to_bias = gradient.sum(range(gradient.ndim - 1), dtype=jnp.float32).astype(bias.dtype)
  return _rows_times(gradient, kernel, None, transposed=True), to_kernel, to_bias


library_dense.defvjp(_forward, _backward)


def _rows_times(
  inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None, transposed: bool
) -> jax.Array:
  """Returns inputs [B, ..., K] times the kernel [K, M], or that of [M, K] transposed, plus bias."""

  def product(inputs: jax.Array, kernel: jax.Array, *bias: jax.Array) -> jax.Array:
    flat = inputs.reshape(-1, inputs.shape[-1])
    added = (array.reshape(1, -1) for array in bias)
    found = call_matmul(flat, kernel, *added, transpose_b=transposed, dtype=inputs.dtype)
    return found.reshape(*inputs.shape[:-1], -1)

  rows = ' '.join(_BATCH_AND_OTHERS[: inputs.ndim - 1])
  rule = f'{rows} i, {"o i" if transposed else "i o"}{"" if bias is None else ", o"} -> {rows} o'
  others = (kernel,) if bias is None else (kernel, bias)
  return batch_partitioned(product, rule, (True, *(False,) * len(others)))(inputs, *others)
