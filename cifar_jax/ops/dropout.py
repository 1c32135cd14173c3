"""Dropout."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.dispatch import target_platform, use_cpu_kernels
from cifar_jax.utils.array_types import Booleans, Elements, RandomKey


def dropout(key: RandomKey, inputs: Elements, rate: float) -> Elements:
  """Zeroes each element with probability `rate` and scales the others by 1 / (1 - rate).

  Args:
    key: A key of its own.
    inputs: The elements.
    rate: Probability of 0, 0 < rate < 1; on CPU taken to the nearest multiple of 1 / 65536.
  """
  return jnp.where(keep_mask(key, inputs.shape, rate), inputs / (1 - rate), 0)


def keep_mask(key: RandomKey, shape: tuple[int, ...], rate: float) -> Booleans:
  """Returns the booleans of `dropout`: False with probability `rate`."""
  if target_platform() == 'tpu':
    return word_bernoulli(key, 1 - rate, shape)
  choose = packed_bernoulli if use_cpu_kernels() else reference_bernoulli
  return choose(key, 1 - rate, shape)


def reference_bernoulli(key: RandomKey, probability: float, shape: tuple[int, ...]) -> Booleans:
  """Draws independent booleans, True with a probability, from one 32-bit random word each."""
  return jax.random.bernoulli(key, probability, shape)


def word_bernoulli(key: RandomKey, probability: float, shape: tuple[int, ...]) -> Booleans:
  """Draws booleans, True with a probability, by comparing one 32-bit random word each with it:
  less to compile and to compute than a float made of the word.
  """
  highest = 2**32 - 1  # the probability is met to one in so many
  return jax.random.bits(key, shape, jnp.uint32) < jnp.uint32(round(probability * highest))


def packed_bernoulli(key: RandomKey, probability: float, shape: tuple[int, ...]) -> Booleans:
  """Draws booleans, True with a probability; one random word serves two or four of them.

  Drawing the words takes most of the time of dropout on CPU. Eight bits decide exactly for
  probabilities that are multiples of 1 / 256, as those of most networks are; others take sixteen.
  """
  bits = 8 if (probability * 256).is_integer() else 16
  per_word = 32 // bits
  threshold = round(probability * 2**bits)
  size = math.prod(shape)
  # Words along the last axis leave the leading one, over which devices share a batch, alone.
  whole = shape and shape[-1] % per_word == 0
  words = (*shape[:-1], shape[-1] // per_word) if whole else (-(-size // per_word),)
  lanes = lax.bitcast_convert_type(
    jax.random.bits(key, words, jnp.uint32), jnp.uint8 if bits == 8 else jnp.uint16
  )
  lanes = lanes.reshape(shape) if whole else lanes.reshape(-1)[:size].reshape(shape)
  # A threshold of 2**bits, for probabilities that round to 1, needs a wider type.
  return lanes.astype(jnp.int32) < threshold
