"""Initializers of kernels beside those of Flax."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = nn.initializers.Initializer


def torch_default_init() -> Initializer:
  """Uniform in +-1 / sqrt(inputs of a unit): the default of PyTorch's layers with a kernel."""
  return nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def torch_default_bias_init(fan_in: int) -> Initializer:
  """Uniform in +-1 / sqrt(fan_in): the default of PyTorch for the bias [F] of such a layer."""

  def initialize(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

  return initialize


def dirac_init(rest: Initializer) -> Initializer:
  """Kernels [kh, kw, C, F] whose first C filters pass on channel 0, 1, ... C - 1 unchanged.

  With as many filters as channels the layer starts as the identity (with odd windows and 'SAME'
  padding); further filters come from `rest`. Zagoruyko and Komodakis (2017) call it Dirac.
  """

  def initialize(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    kernel = rest(key, shape, dtype)
    height, width, channels, features = shape
    passed = min(channels, features)
    identity = jnp.zeros((height, width, channels, passed), kernel.dtype)
    identity = identity.at[height // 2, width // 2].set(jnp.eye(channels, passed))
    return kernel.at[..., :passed].set(identity)

  return initialize


def unit_std_init(initializer: Initializer) -> Initializer:
  """Kernels of another initializer, divided by their standard deviation (n - 1 in it)."""

  def initialize(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    kernel = initializer(key, shape, dtype)
    return kernel / jnp.std(kernel, ddof=1)

  return initialize
