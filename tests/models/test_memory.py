"""What a compiled gradient keeps for each further block, in maps of the block's inputs.

That of four blocks less that of two: what the computation itself needs at a time cancels out. The
bounds are counted from the layers: for a backward pass, the inputs of each normalization, those of
each kernel, and those of each activation whose gradient does not ask its outputs, once each.
"""

import json
import os
import subprocess
import sys

import pytest

from cifar_jax.ops.dispatch import has_library

# What must be kept, and what may be. BatchNorm keeps its inputs once more, centered, which saves a
# pass over the maps; beyond that there is no room for one more copy of the largest maps counted.
# The last three keep more than they must, GELU most of it; their second numbers are near to what
# was found.
BOUNDS = {
  'vgg': (2, 3.25),  # inputs of BatchNorm; outputs of ReLU
  'resnet': (4, 6.5),  # the same of two layers
  'preact_resnet': (4, 6.5),
  # The same, of maps of a quarter of the size, if GELU asks again for its inputs.
  'airbench_net': (0.5, 1.0),
  # Of the third and fourth layer, 40 and 52 channels wide where the inputs are 16: concatenated
  # maps and outputs of ReLU; and what those of a wider one need at a time.
  'densenet': (2 * (40 + 52) / 2 / 16, 10.5),
  'mobilenet_v2': (26, 41),  # of two layers six times as wide, of one that is not, and the inputs
  # Inputs and outputs of two normalizations, queries, keys, values, mixed values; attention of
  # three heads over 65 tokens of 192; inputs and outputs of GELU, four times as wide.
  'vit': (4 + 3 + 1 + 3 * 65 / 192 + 8, 24),
  # Inputs and outputs of two normalizations; of GELU, once as wide and four times.
  'mixer': (4 + 2 + 8, 22.5),
  # Inputs of the convolution, of the normalization, of the MLP; of GELU both; of the scale.
  'convnext': (4 + 8, 19),
}
OFTEN = ('vgg', 'resnet', 'mobilenet_v2')


def check(*families: str) -> None:
  if not has_library('float32'):
    pytest.skip('needs the calls of oneDNN')
  # The suite compiles fast and without oneDNN.
  off = ('XLA_FLAGS', 'JAX_DISABLE_MOST_OPTIMIZATIONS', 'CIFAR_JAX_ONEDNN')
  environment = {name: value for name, value in os.environ.items() if name not in off}
  done = subprocess.run(
    [sys.executable, '-m', 'tests.helpers.kept_maps', *families],
    capture_output=True,
    text=True,
    check=True,
    env=environment,
  )
  kept = json.loads(done.stdout.splitlines()[-1])
  outside = {
    family: maps
    for family, maps in kept.items()
    if not 0.99 * BOUNDS[family][0] <= maps <= BOUNDS[family][1]
  }
  assert set(kept) == {*families}
  assert not outside


@pytest.mark.thorough
def test_a_block_keeps_no_more_than_is_known() -> None:
  check(*OFTEN)


@pytest.mark.thorough
def test_a_block_of_other_families_keeps_no_more_than_is_known() -> None:
  check(*sorted({*BOUNDS} - {*OFTEN}))
