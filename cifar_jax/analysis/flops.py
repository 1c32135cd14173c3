"""How much arithmetic a network takes: multiply-adds of its convolutions and matrix products.

One multiply-add is two floating-point operations. Training takes three times the forward pass: the
gradients of the inputs and of the kernels cost as much each.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax.ops.dispatch import reference_kernels

FORWARD, TRAINING = 2, 6  # operations for each multiply-add of one image's forward pass

# Dense 16-bit products of one JAX device, 10^12 operations per second, as the makers state them (a
# device is a core of TPU v2 and v3, a chip of the others). Longer names first: the first that a
# device's kind starts with counts.
_PEAKS: Mapping[str, float] = {
  'TPU v2': 22.5,
  'TPU v3': 61.5,
  'TPU v4': 275,
  'TPU v5 lite': 197,
  'TPU v5e': 197,
  'TPU v5': 459,
  'TPU v6': 918,
  'NVIDIA H200': 989,
  'NVIDIA H100 PCIe': 756,
  'NVIDIA H100': 989,
  'NVIDIA A100': 312,
  'NVIDIA L4': 121,
  'Tesla V100': 125,
  'Tesla T4': 65,
}


def macs(module: nn.Module, image_shape: Sequence[int]) -> int:
  """Multiply-adds of the forward pass of one image; window positions over padding count in full."""
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(lambda key, images: module.init(key, images, train=False), key, images)
  with reference_kernels():
    program = jax.make_jaxpr(lambda v, x: module.apply(v, x, train=False))(variables, images)
  return _count(program.jaxpr)


def peak(device_kind: str) -> float | None:
  """Operations per second that a device can make at most, in 16 bits; None where not known, as
  for every CPU.

  Utilization of a run in float32 is stated against the same peak, as is the custom.
  """
  for name, teraflops in _PEAKS.items():
    if re.match(re.escape(name) + r'\b', device_kind):
      return 1e12 * teraflops
  return None


def _count(program: Any) -> int:
  total = 0
  for operation in program.eqns:
    name, shapes = operation.primitive.name, [x.aval.shape for x in operation.invars]
    outputs = math.prod(operation.outvars[0].aval.shape) if operation.outvars else 0
    if name == 'conv_general_dilated':
      features = operation.params['dimension_numbers'].rhs_spec[0]
      total += outputs * math.prod(shapes[1]) // shapes[1][features]
    elif name == 'dot_general':
      (contracted, _), _ = operation.params['dimension_numbers']
      total += outputs * math.prod(shapes[0][axis] for axis in contracted)
    else:
      for inner in jax.tree.leaves(
        list(operation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr')
      ):
        inner = getattr(inner, 'jaxpr', inner)
        total += _count(inner) if hasattr(inner, 'eqns') else 0
  return total
