"""Compares two forms of an operation."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from cifar_jax.ops import dispatch

RNG = np.random.default_rng(0)
FIRST_STATE = RNG.bit_generator.state


def normal(*shape: int) -> jax.Array:
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def assert_same_function(form, plain, *inputs):
  """Values and the gradients by all inputs agree to 1e-5 of the largest, for a random cotangent.

  One program computes all, since each operation outside of one is compiled by itself.
  """

  def both(cotangent, *inputs):
    pairs = []
    for function in (form, plain):
      values, pull_back = jax.vjp(function, *inputs)
      pairs.append((values, pull_back(cotangent)))
    return pairs

  cotangent = jax.tree.map(lambda value: normal(*value.shape), jax.eval_shape(form, *inputs))
  found, wanted = jax.jit(both)(cotangent, *inputs)
  for actual, expected in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def assert_gradients(form, *inputs, step, tolerance=1e-3):
  """The gradients by all inputs give the difference of the values along a random direction."""
  directions = [normal(*each.shape) for each in inputs]
  cotangent = jax.tree.map(lambda value: normal(*value.shape), jax.eval_shape(form, *inputs))

  def slopes(cotangent, inputs, directions):
    def along(distance):
      moved = [x + distance * d for x, d in zip(inputs, directions, strict=True)]
      return jax.tree.leaves(form(*moved))

    gradients = jax.vjp(form, *inputs)[1](cotangent)
    by_gradients = [g * d for g, d in zip(gradients, directions, strict=True)]
    ends = zip(along(step), along(-step), jax.tree.leaves(cotangent), strict=True)
    by_differences = [(right - left) / (2 * step) * c for right, left, c in ends]
    return by_gradients, by_differences

  gradients, differences = (
    sum(np.asarray(each, np.float64).sum() for each in terms)
    for terms in jax.jit(slopes)(cotangent, inputs, directions)
  )
  np.testing.assert_allclose(gradients, differences, rtol=tolerance, atol=tolerance)


def assert_eight_devices_do_as_one(layer, inputs, dtype: str) -> str:
  """A layer's squares, and their gradients by parameters and inputs, by 8 devices and by one agree:
  to 1e-5 of the largest in float32, to a rounding in bfloat16.

  Args:
    layer: A Flax module of one argument.
    inputs: float32 [16, ...]; each device gets two rows.
    dtype: In what the layer computes.

  Returns:
    The compiled program of each of the eight, as text.
  """
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  by_row, whole = NamedSharding(mesh, PartitionSpec('data')), NamedSharding(mesh, PartitionSpec())
  variables = layer.init(jax.random.key(0), inputs)

  def loss(variables, inputs):
    return jnp.square(layer.apply(variables, inputs).astype(jnp.float32)).mean()

  def on_eight(variables, inputs):
    return jax.value_and_grad(loss, argnums=(0, 1))(
      variables, jax.lax.with_sharding_constraint(inputs, by_row)
    )

  divided = jax.jit(on_eight, out_shardings=whole).lower(variables, inputs).compile()
  on_one = dispatch.on_one_device(jax.value_and_grad(loss, argnums=(0, 1)))
  tolerance = 1e-5 if dtype == 'float32' else 2**-7
  pairs = (divided(variables, inputs), jax.jit(on_one)(variables, inputs))
  for found, wanted in zip(*map(jax.tree.leaves, pairs), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
  return divided.as_text()
