"""Convolutions and matrix products by oneDNN, which jaxlib contains.

XLA's CPU backend can call oneDNN, but the compiler of the published builds never does so by itself.
The calls are there, under the names below, with what to compute written as JSON; so a program can
ask for them. `dispatch.use_library_calls` says where, `self_test` whether they work. The compiler
cannot divide them among devices; `batch_partitioned` does.

A program with such a call is compiled anew in each process, since XLA cannot store it; see
devices/compilation_cache.py.
"""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.batch_partitioned import batch_partitioned
from cifar_jax.utils.array_types import Elements, Kernel, Maps, NewMaps, PerFeature

CALLS = '__onednn$'  # what the names of the calls begin with

Pads = tuple[tuple[int, int], tuple[int, int]]
NO_PADS: Pads = ((0, 0), (0, 0))

_FEW_CHANNELS = 4  # up to here a copy of every window is small beside the maps

# In a call that takes the place of a kernel gradient: the best of 8 to 256, unless the whole
# gradient of the outputs stays in the processor's cache.
_EXAMPLES_AT_ONCE = 16
_SMALL_GRADIENT = 4 * 2**20  # bytes


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
  else:
    way = functools.partial(_kernel_gradient_as_conv, pads=pads)
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
  gradient, in which examples take the place of the channels.

  Channels lie beside each other in the rows of the maps, where the window steps over them: so the
  outputs are [1, kh, kw * channels, features], rows long enough for oneDNN's vectors.
  """
  (_, height, width, channels), window = inputs.shape, gradient.shape[1:3]
  (top, bottom), (left, right) = pads
  rows = height + top + bottom - window[0] + 1
  columns = width + left + right - window[1] + 1

  def found(maps: jax.Array, to_maps: jax.Array) -> jax.Array:
    """Returns the sum over some examples."""
    return _call_conv(
      (maps.transpose(1, 2, 3, 0).reshape(1, height, width * channels, len(maps)), to_maps),
      {'input_feature_dim': 0, 'output_feature_dim': 3, 'spatial_dims': [1, 2]},
      jax.ShapeDtypeStruct((1, rows, columns * channels, gradient.shape[3]), jnp.float32),
      window,
      pads=((top, bottom), (left * channels, right * channels)),
      dilation=(1, channels),
    )

  whole = gradient.size * gradient.dtype.itemsize <= _SMALL_GRADIENT
  at_once = len(inputs) if whole else _EXAMPLES_AT_ONCE
  return summed(found, inputs, gradient, at_once).reshape(rows, columns, channels, -1)


def summed(
  found: Callable[[jax.Array, jax.Array], jax.Array],
  inputs: jax.Array,
  gradient: jax.Array,
  at_once: int,
) -> jax.Array:
  """Returns the sum of what is found of so many examples of two arrays at once, in a loop."""
  examples = len(inputs)
  at_once = min(examples, at_once)
  rounds, rest = divmod(examples, at_once)
  # As integers of the same bits: XLA's CPU backend would hold bfloat16 as float32 in the loop.
  integer = jnp.int16 if inputs.dtype == jnp.bfloat16 else jnp.int32
  bits = [lax.bitcast_convert_type(array, integer) for array in (inputs, gradient)]

  def of_some(start: jax.Array | int, count: int) -> jax.Array:
    return found(
      *(
        lax.bitcast_convert_type(lax.dynamic_slice_in_dim(array, start, count), inputs.dtype)
        for array in bits
      )
    )

  total = of_some(0, at_once)
  total = lax.fori_loop(1, rounds, lambda i, total: total + of_some(i * at_once, at_once), total)
  return total + of_some(examples - rest, rest) if rest else total


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
    call_matmul(
      shifted[:, at : at + height].reshape(-1, columns),
      gradient.reshape(-1, features),
      transpose_a=True,
      dtype=inputs.dtype,
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
  bare = functools.partial(bare_conv, strides=strides, pads=pads, relu=relu, groups=groups)
  if bias is None:
    return batch_partitioned(bare, 'b h w c, y x d f -> b i j f', (True, False))(inputs, kernel)
  divided = batch_partitioned(bare, 'b h w c, y x d f, f -> b i j f', (True, False, False))
  return divided(inputs, kernel, bias)


def bare_conv(
  *operands: jax.Array,
  strides: tuple[int, int],
  pads: Pads,
  relu: bool = False,
  groups: int = 1,
  dilation: tuple[int, int] = (1, 1),
) -> jax.Array:
  """Calls oneDNN's convolution with inputs, a kernel and, where it is given, a bias; on the rows of
  one device.
  """
  inputs, kernel = operands[:2]
  sizes = [
    (size + low + high - (window - 1) * step - 1) // stride + 1
    for size, (low, high), window, stride, step in zip(
      inputs.shape[1:3], pads, kernel.shape[:2], strides, dilation, strict=True
    )
  ]
  return _call_conv(
    operands,
    {'input_feature_dim': 2, 'output_feature_dim': 3, 'spatial_dims': [0, 1]},
    jax.ShapeDtypeStruct((inputs.shape[0], *sizes, kernel.shape[3]), inputs.dtype),
    kernel.shape[:2],
    strides=strides,
    pads=pads,
    dilation=dilation,
    relu=relu,
    groups=groups,
  )


def _call_conv(
  operands: Sequence[jax.Array],
  filters: dict[str, Any],
  result: jax.ShapeDtypeStruct,
  window: Sequence[int],
  *,
  pads: Pads,
  strides: tuple[int, int] = (1, 1),
  dilation: tuple[int, int] = (1, 1),
  relu: bool = False,
  groups: int = 1,
) -> jax.Array:
  """Calls oneDNN's convolution of maps; `filters` says what the axes of the kernel are."""
  maps = {'dims': 4, 'data': {'batch_dim': 0, 'feature_dim': 3, 'spatial_dims': [1, 2]}}
  config = {
    'dims': 4,
    'input': maps,
    'kernel': {'dims': 4, 'filter': {**filters, 'shape': operands[1].shape}},
    'output': maps,
    'feature_groups': groups,
    'window': {
      'size': window,
      'pad_left': [low for low, _ in pads],
      'pad_right': [high for _, high in pads],
      'strides': strides,
      'window_dilations': dilation,
    },
    'fusions': {'ops': ['BIAS'] * (len(operands) == 3) + ['RELU'] * relu},
  }
  return _call('convolution', {'onednn_conv_config': config}, result, operands)


def call_matmul(
  *operands: jax.Array, dtype: Any, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
  """Calls oneDNN's product of two matrices, either of which may be transposed, plus the bias [1, M]
  where it is given, without gradients; sums are float32.
  """
  left, right = operands[:2]
  config = {
    'transpose_a': transpose_a,
    'transpose_b': transpose_b,
    'fusions': {'ops': ['BIAS'] * (len(operands) == 3)},
  }
  shape = (left.shape[1 if transpose_a else 0], right.shape[0 if transpose_b else 1])
  result = jax.ShapeDtypeStruct(shape, dtype)
  return _call('matmul', {'onednn_matmul_config': config}, result, operands)


def _call(
  name: str,
  config: dict[str, Any],
  result: jax.ShapeDtypeStruct,
  operands: Sequence[jax.Array],
) -> jax.Array:
  call = jax.ffi.ffi_call(
    f'{CALLS}{name}',
    result,
    vmap_method='sequential',
    custom_call_api_version=2,
    legacy_backend_config=json.dumps(config),
  )
  return call(*operands)
