"""launch.py, with float64 wherever the toolkit and Flax say float32.

  python -m tests.helpers.double_precision --config=configs/cnn_adv.py ...

Of a network's millions of activations some lie within rounding of 0, where ReLU bends, or of
another, where max-pooling chooses. Single precision decides a few of them otherwise as soon as the
order of a sum changes, and a moment later two runs are no longer comparable. In double precision
they are too few to meet, so what then differs is a mistake in the program.
"""

import runpy

import jax
import jax.numpy as jnp

jax.config.update('jax_enable_x64', True)
jnp.float32 = jnp.float64  # before Flax reads it as the default of its layers

if __name__ == '__main__':
  runpy.run_path('launch.py', run_name='__main__')
