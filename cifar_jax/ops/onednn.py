"""Convolutions and matrix products by oneDNN, which jaxlib contains.

XLA's CPU backend can call oneDNN, but the compiler of the published builds never does so by itself.
The calls are there, under the names below, with what to compute written as JSON; so a program can
ask for them. `dispatch.use_library_calls` says where, `self_test` whether they work. The compiler
cannot divide them among devices; `batch_partitioned` does.

A program with such a call is compiled anew in each process, since XLA cannot store it (jaxlib
0.10.2: a MemoryError); `devices.parts` divides programs for that reason.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.batch_partitioned import batch_partitioned
from cifar_jax.utils.array_types import Elements, Kernel, Maps, NewMaps, PerFeature

Pads = tuple[tuple[int, int], tuple[int, int]]

TARGETS = '__onednn$'  # what the names of the calls begin with
_FEW_CHANNELS = 4  # up to here a copy of every window is small beside the maps

# In a call that takes the place of a kernel gradient: the best of 8 to 256.
_EXAMPLES_AT_ONCE = {'bfloat16': 32, 'float32': 16}
_LARGE_MAP = 150  # places; on smaller maps XLA's own gradient is as fast in float32


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def conv(
  inputs: Maps,
  kernel: Kernel,
  bias: PerFeature | None,
  strides: tuple[int, int],
  pads: Pads,
  relu: bool,
) -> NewMaps:
  """Convolves maps, adds the bias, then takes ReLU.

  Args:
    inputs: The feature maps, float32 or bfloat16; sums are float32.
    kernel: The kernel, of the same dtype.
    bias: What is added, of the same dtype, or None.
    strides: Vertical and horizontal step of the window.
    pads: Zeros put around the maps as (top, bottom), (left, right), each less than the window.
    relu: Whether ReLU is taken. That of NaN is 0 here, but a kernel that met one gets it for its
      gradient.
  """
  return call_conv(inputs, kernel, bias, strides, pads, relu=relu)


_Kept = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]


def _conv_forward(
  inputs: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  strides: tuple[int, int],
  pads: Pads,
  relu: bool,
) -> tuple[jax.Array, _Kept]:
  outputs = conv(inputs, kernel, bias, strides, pads, relu)
  return outputs, (inputs, kernel, bias, outputs if relu else None)


def _conv_backward(
  strides: tuple[int, int], pads: Pads, relu: bool, kept: _Kept, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
  del relu
  inputs, kernel, bias, outputs = kept
  if outputs is not None:
    gradient = where_positive(outputs, gradient)
  to_bias = None
  if bias is not None:
    to_bias = gradient.sum((0, 1, 2), dtype=jnp.float32).astype(bias.dtype)
  if strides != (1, 1):
    _, pull = jax.vjp(functools.partial(_xla_conv, strides=strides, pads=pads), inputs, kernel)
    return *pull(gradient), to_bias
  turned = kernel[::-1, ::-1].swapaxes(2, 3)
  to_inputs = call_conv(gradient, turned, None, (1, 1), pads_of_gradient(kernel, pads))
  return to_inputs, _kernel_gradient(inputs, gradient, kernel, pads), to_bias


conv.defvjp(_conv_forward, _conv_backward)


def pads_of_gradient(kernel: jax.Array, pads: Pads) -> Pads:
  """Returns the padding of the outputs' gradient with which a convolution by the flipped kernel
  [kh, kw, ...] gives the inputs' gradient; for a window that moves by single steps.
  """
  height, width = kernel.shape[:2]
  (top, bottom), (left, right) = pads
  return (height - 1 - top, height - 1 - bottom), (width - 1 - left, width - 1 - right)


def where_positive(outputs: Elements, gradient: Elements) -> Elements:
  """Returns the gradient where outputs of ReLU are above 0, elsewhere 0.

  Both are taken as integers of the same bits: XLA's CPU backend would widen bfloat16 to float32 and
  back.
  """
  integer = jnp.int16 if outputs.dtype == jnp.bfloat16 else jnp.int32
  kept, bits = (lax.bitcast_convert_type(array, integer) for array in (outputs, gradient))
  return lax.bitcast_convert_type(jnp.where(kept > 0, bits, 0), gradient.dtype)


def _kernel_gradient(
  inputs: jax.Array, gradient: jax.Array, kernel: jax.Array, pads: Pads
) -> jax.Array:
  """Returns the kernel's gradient, by the fastest of the ways that were measured."""
  height, width, channels, _ = kernel.shape
  if channels <= _FEW_CHANNELS or height == width == 1:
    way = functools.partial(_kernel_gradient_from_windows, windows=(height, width), pads=pads)
  elif inputs.dtype == jnp.bfloat16 or gradient.shape[1] * gradient.shape[2] >= _LARGE_MAP:
    way = functools.partial(_kernel_gradient_as_conv, pads=pads)
  else:
    convolve = functools.partial(_xla_conv, inputs, strides=(1, 1), pads=pads)
    (found,) = jax.linear_transpose(convolve, kernel)(gradient)
    return found
  divided = batch_partitioned(way, 'b h w c, b i j f -> y x c f', (True, True), summed=True)
  return divided(inputs, gradient).astype(kernel.dtype)


def _xla_conv(
  inputs: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> jax.Array:
  return lax.conv_general_dilated(
    inputs, kernel, strides, pads, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def _kernel_gradient_as_conv(inputs: jax.Array, gradient: jax.Array, pads: Pads) -> jax.Array:
  """Returns the kernel's gradient in float32 as a convolution of the inputs with the outputs'
  gradient, in which some examples at a time take the place of the channels.
  """
  examples = inputs.shape[0]
  at_once = min(examples, _EXAMPLES_AT_ONCE[inputs.dtype.name])

  def found(start: jax.Array | int, count: int) -> jax.Array:
    """Returns the sum [channels, kh, kw, features] over `count` examples."""
    maps, to_maps = (lax.dynamic_slice_in_dim(a, start, count) for a in (inputs, gradient))
    kernel = to_maps.transpose(1, 2, 0, 3)
    outputs = _bare_conv(maps.transpose(3, 1, 2, 0), kernel, strides=(1, 1), pads=pads)
    return outputs.astype(jnp.float32)

  rounds, rest = divmod(examples, at_once)
  # Rounds side by side are quicker in bfloat16. In float32 they are not, and would hold all
  # transposed maps at the same time.
  unroll = True if inputs.dtype == jnp.bfloat16 else 1
  total = found(0, at_once)
  total = lax.fori_loop(
    1, rounds, lambda i, total: total + found(i * at_once, at_once), total, unroll=unroll
  )
  if rest:
    total = total + found(examples - rest, rest)
  return total.transpose(1, 2, 0, 3)


def _kernel_gradient_from_windows(
  inputs: jax.Array, gradient: jax.Array, windows: tuple[int, int], pads: Pads
) -> jax.Array:
  """Returns the kernel's gradient in float32 as one matrix product for each row of the window,
  over copies of the inputs that are shifted along the width.
  """
  height, width, features = gradient.shape[1:]
  padded = jnp.pad(inputs, ((0, 0), *pads, (0, 0)))
  shifted = jnp.concatenate([padded[:, :, at : at + width] for at in range(windows[1])], axis=-1)
  columns = shifted.shape[-1]
  rows = [
    _matmul_transposed(
      shifted[:, at : at + height].reshape(-1, columns), gradient.reshape(-1, features)
    )
    for at in range(windows[0])
  ]
  found = jnp.stack(rows).reshape(*windows, inputs.shape[3], features)
  return found.astype(jnp.float32)


def call_conv(
  inputs: Maps,
  kernel: Kernel,
  bias: PerFeature | None,
  strides: tuple[int, int],
  pads: Pads,
  relu: bool = False,
  groups: int = 1,
) -> NewMaps:
  """Calls oneDNN's convolution, without gradients; arguments as for `conv`, `groups` as in XLA."""
  bare = functools.partial(_bare_conv, strides=strides, pads=pads, relu=relu, groups=groups)
  if bias is None:
    return batch_partitioned(bare, 'b h w c, y x d f -> b i j f', (True, False))(inputs, kernel)
  divided = batch_partitioned(bare, 'b h w c, y x d f, f -> b i j f', (True, False, False))
  return divided(inputs, kernel, bias)


def _bare_conv(
  *operands: jax.Array,
  strides: tuple[int, int],
  pads: Pads,
  relu: bool = False,
  groups: int = 1,
) -> jax.Array:
  """Calls oneDNN's convolution with inputs, a kernel and, where it is given, a bias."""
  inputs, kernel = operands[:2]
  images = {'dims': 4, 'data': {'batch_dim': 0, 'feature_dim': 3, 'spatial_dims': [1, 2]}}
  filters = {'input_feature_dim': 2, 'output_feature_dim': 3, 'spatial_dims': [0, 1]}
  sizes = [
    (size + low + high - window) // stride + 1
    for size, (low, high), window, stride in zip(
      inputs.shape[1:3], pads, kernel.shape[:2], strides, strict=True
    )
  ]
  config = {
    'dims': 4,
    'input': images,
    'kernel': {'dims': 4, 'filter': {**filters, 'shape': kernel.shape}},
    'output': images,
    'feature_groups': groups,
    'window': {
      'size': kernel.shape[:2],
      'pad_left': [low for low, _ in pads],
      'pad_right': [high for _, high in pads],
      'strides': strides,
      'window_dilations': [1, 1],
    },
    'fusions': {'ops': ['BIAS'] * (len(operands) == 3) + ['RELU'] * relu},
  }
  shape = (inputs.shape[0], *sizes, kernel.shape[3])
  return _call('convolution', {'onednn_conv_config': config}, shape, operands)


def _matmul_transposed(left: jax.Array, right: jax.Array) -> jax.Array:
  """Returns the product [K, M] of the transpose of [N, K] with [N, M]."""
  config = {'transpose_a': True, 'transpose_b': False}
  shape = (left.shape[1], right.shape[1])
  return _call('matmul', {'onednn_matmul_config': config}, shape, [left, right])


def _call(
  name: str, config: dict[str, Any], shape: Sequence[int], operands: Sequence[jax.Array]
) -> jax.Array:
  call = jax.ffi.ffi_call(
    f'{TARGETS}{name}',
    jax.ShapeDtypeStruct(shape, operands[0].dtype),
    vmap_method='sequential',
    custom_call_api_version=2,
    legacy_backend_config=json.dumps(config),
  )
  return call(*operands)
