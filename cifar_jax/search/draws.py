"""Genomes at random: the distribution that a search over networks begins with."""

import math
from collections.abc import Sequence

import numpy as np

from cifar_jax.search.genome import (
  BATCH_NORMS,
  POOLS,
  RULES,
  VECTORS,
  Block,
  Convolution,
  Dense,
  Genome,
  Rule,
  fitted,
)

MOST_BLOCKS, MOST_CONVOLUTIONS, MOST_DENSE = 6, 4, 3
WIDTHS = 8, 512  # of blocks; multiples of 8
UNITS = 32, 1024  # of hidden layers; multiples of 32
MOST_DROPOUT = 0.6
KERNELS = {3: 0.7, 1: 0.15, 5: 0.15}
WIDTH_FACTORS = {1.0: 0.8, 0.5: 0.1, 2.0: 0.1}
ACTIVATIONS = ('relu', 'leaky_relu', 'elu', 'gelu', 'silu')
MOMENTA = (0.0, 0.8, 0.9, 0.95)

Random = np.random.Generator


def random_genome(random: Random, image_shape: Sequence[int]) -> Genome:
  """One to four blocks that widen, with all else as in networks that work at times."""
  width = 8 * int(random.integers(2, 9))
  blocks = []
  for _ in range(random.integers(1, 5)):
    blocks.append(random_block(random, width))
    width = near_width(width * random.choice([1.0, 1.5, 2.0]))
  dense = tuple(random_dense(random) for _ in range(random.integers(0, 3)))
  vectors = str(random.choice(list(VECTORS), p=[0.6, 0.4]))
  activation = str(random.choice(ACTIVATIONS))
  return fitted(Genome(tuple(blocks), vectors, dense, activation, random_rule(random)), image_shape)


def random_block(random: Random, width: int) -> Block:
  """A block of one to three convolutions."""
  return Block(
    width,
    tuple(random_convolution(random) for _ in range(random.integers(1, 4))),
    str(random.choice(POOLS, p=[0.1, 0.7, 0.2])),
    str(random.choice(BATCH_NORMS, p=[0.3, 0.5, 0.2])),
    _random_rate(random),
  )


def random_convolution(random: Random) -> Convolution:
  """A convolution, mostly of 3x3, padded and as wide as its block."""
  return Convolution(
    int(random.choice(list(KERNELS), p=list(KERNELS.values()))),
    'valid' if random.random() < 0.2 else 'same',
    float(random.choice(list(WIDTH_FACTORS), p=list(WIDTH_FACTORS.values()))),
  )


def random_dense(random: Random) -> Dense:
  """A hidden layer."""
  return Dense(int(random.choice([64, 128, 256, 512])), _random_rate(random))


def random_rule(random: Random, name: str = '') -> Rule:
  """An optimizer, by its name if one is given."""
  name = name or str(random.choice(sorted(RULES)))
  ranges = RULES[name]
  rate = three_digits(log_uniform(random, ranges.learning_rate))
  bounds = ranges.weight_decay
  decay = three_digits(log_uniform(random, bounds)) if bounds and random.random() < 0.7 else 0.0
  return Rule(name, rate, decay, float(random.choice(MOMENTA)) if ranges.momentum else 0.0)


def _random_rate(random: Random) -> float:
  """None for half of the layers, else 0.05 to 0.5."""
  return 0.0 if random.random() < 0.5 else round(0.05 * int(random.integers(1, 11)), 2)


def near_width(wanted: float) -> int:
  """The width of a block that is nearest to a number."""
  low, high = WIDTHS
  return int(np.clip(8 * round(wanted / 8), low, high))


def log_uniform(random: Random, bounds: tuple[float, float]) -> float:
  """A number whose logarithm is evenly distributed."""
  low, high = bounds
  return math.exp(random.uniform(math.log(low), math.log(high)))


def three_digits(number: float) -> float:
  """The number in three digits, as a config shows it."""
  return float(f'{number:.3g}')
