"""Whether oneDNN, called as in `onednn`, computes what XLA's own convolutions and products do.

`dispatch.objection_to_library` runs this in a process of its own, since a call that jaxlib does not
understand may end the process.
"""

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.ops import conv, depthwise, onednn
from cifar_jax.ops.dense import library_dense, reference_dense

# Shares of the largest value: sums in another order, and the rounding of bfloat16 itself.
_TOLERANCE = {'float32': 1e-4, 'bfloat16': 2**-7}
_ROWS = 67  # in a kernel gradient, several times the rows that are taken at once, and a rest
_SHAPES = {  # of the inputs and the kernel, and the step of the window
  '3x3 of few channels': ((_ROWS, 8, 8, 3), (3, 3, 3, 8), (1, 1)),
  '3x3': ((_ROWS, 8, 8, 6), (3, 3, 6, 8), (1, 1)),
  '3x3 on large maps': ((_ROWS, 33, 32, 6), (3, 3, 6, 32), (1, 1)),
  '3x3 by steps of 2': ((_ROWS, 8, 8, 6), (3, 3, 6, 8), (2, 2)),
  '1x1': ((_ROWS, 8, 8, 6), (1, 1, 6, 8), (1, 1)),
  'depthwise': ((_ROWS, 12, 13, 16), (3, 3, 1, 16), (1, 1)),
  'depthwise by steps of 2': ((_ROWS, 12, 13, 16), (3, 3, 1, 16), (2, 2)),
  'of matrices': ((_ROWS, 9, 12), (12, 20), (1, 1)),
}

_Results = tuple[jax.Array, ...]  # values, then the gradients by inputs, kernel and bias


def check(dtype: str) -> None:
  """Compares values and gradients of every kind of call with the plain ones.

  Args:
    dtype: Name of the dtype of the operands.

  Raises:
    ArithmeticError: They differ.
  """
  random = np.random.default_rng(0)
  operands = {
    name: [jnp.asarray(random.normal(size=s), dtype) for s in (inputs, kernel, kernel[-1:])]
    for name, (inputs, kernel, _) in _SHAPES.items()
  }

  @jax.jit
  def results(operands: dict[str, list[jax.Array]]) -> dict[str, tuple[_Results, _Results]]:
    return {name: _both(name, *arrays) for name, arrays in operands.items()}

  for name, (found, expected) in results(operands).items():
    for actual, exact in zip(found, expected, strict=True):
      # In NumPy: XLA's maximum on CPU passes over NaN.
      wanted = np.asarray(exact)
      difference = np.abs(np.asarray(actual, np.float32) - wanted).max()
      if not difference <= _TOLERANCE[dtype] * np.abs(wanted).max():
        raise ArithmeticError(f'the product {name} in {dtype} is wrong by {difference:.2g}')


def _both(
  name: str, inputs: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[_Results, _Results]:
  """Returns the results by oneDNN, and by XLA in float32."""
  strides = _SHAPES[name][2]
  window = kernel.shape[:2]
  pads = (((window[0] - 1) // 2,) * 2, ((window[1] - 1) // 2,) * 2)
  groups = inputs.shape[-1] // kernel.shape[-2]

  def called(inputs: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    if kernel.ndim == 2:
      return jax.nn.relu(library_dense(inputs, kernel, bias))
    if groups == 1:
      return onednn.conv(inputs, kernel, bias, strides, pads, True)
    return depthwise.library_depthwise(inputs, kernel, strides, pads)

  def plain(inputs: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    if kernel.ndim == 2:
      return jax.nn.relu(reference_dense(inputs, kernel, bias))
    outputs = conv.reference_conv(inputs, kernel, strides, pads, (1, 1), groups)
    return outputs if groups > 1 else jax.nn.relu(outputs + bias.reshape(1, 1, 1, -1))

  wide = [array.astype(jnp.float32) for array in (inputs, kernel, bias)]
  expected, pull_back = jax.vjp(plain, *wide)
  # Where ReLU decides by a rounded value, the gradient is a choice.
  cotangent = jnp.where(expected > 0.05, jnp.cos(expected), 0).astype(inputs.dtype)
  exact = (expected, *pull_back(cotangent.astype(jnp.float32)))
  values, pull_back = jax.vjp(called, inputs, kernel, bias)
  found = (values, *pull_back(cotangent))
  by_library = 4 if groups == 1 else 3  # a depthwise convolution has no bias
  return found[:by_library], exact[:by_library]
