"""How much arithmetic a network takes: multiply-adds of its convolutions and matrix products.

One multiply-add is two floating-point operations. Training takes three times the forward pass: the
gradients of the inputs and of the kernels cost as much each.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

FORWARD, TRAINING = 2, 6  # operations for each multiply-add of one image's forward pass


def multiply_adds(module: nn.Module, image_shape: Sequence[int]) -> int:
  """Multiply-adds of the forward pass of one image; window positions over padding count in full.

  Args:
    module: the network, called as (images, train).
    image_shape: (H, W, C).
  """
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(lambda key, images: module.init(key, images, train=False), key, images)
  program = jax.make_jaxpr(lambda v, x: module.apply(v, x, train=False))(variables, images)
  return _count(program.jaxpr)


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
