"""What a compiled training step holds, in maps of the network."""

import os
import subprocess
import sys

import pytest

from cifar_jax.ops.dispatch import has_library

# The program is compiled in a process with the flags of launch.py.
_PROGRAM = """
import sys
from cifar_jax.startup import xla_flags
xla_flags.set_flags()
import jax, jax.numpy as jnp
from cifar_jax.models.mobilenet_v2 import InvertedResidual
from cifar_jax.ops.dispatch import on_one_device

images = jax.ShapeDtypeStruct((16, 32, 32, 24), sys.argv[1])
block = InvertedResidual(24, 6, 1, images.dtype)
variables = jax.eval_shape(
  lambda x: block.init(jax.random.key(0), x, True, None), images
)

def gradients(variables, images):
  def loss(params, images):
    both = {**variables, 'params': params}
    for _ in range(3):
      images, _ = block.apply(both, images, True, None, mutable='batch_stats')
    return jnp.sum(images.astype(jnp.float32) ** 2)
  return jax.grad(loss)(variables['params'], images)

step = jax.jit(on_one_device(gradients)).lower(variables, images).compile()
inner = 6 * images.size * images.dtype.itemsize
print(step.memory_analysis().temp_size_in_bytes / inner)
"""


@pytest.mark.thorough
def test_inverted_residuals_keep_three_maps_for_each_wide_normalization():
  """Its inputs, the same centered, and the activation: 18 in three blocks with two each. The rest
  is narrow, or what the gradient works on.
  """
  if not has_library('float32'):
    pytest.skip('needs the calls of oneDNN')
  command = [sys.executable, '-c', _PROGRAM, 'float32']
  # The suite compiles fast and without oneDNN.
  off = ('XLA_FLAGS', 'JAX_DISABLE_MOST_OPTIMIZATIONS', 'CIFAR_JAX_ONEDNN')
  environment = {name: value for name, value in os.environ.items() if name not in off}
  done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
  assert float(done.stdout.split()[-1]) < 25
