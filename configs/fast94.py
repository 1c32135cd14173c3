"""speedrun94 for CPUs: bfloat16 if the processor multiplies that, and fewer test-time views.

Only the quarter of the test images that the network is least sure of is evaluated in all six views.

  python launch.py --config=configs/fast94.py
"""

from ml_collections import ConfigDict

from cifar_jax.ops.dispatch import has_fast_kernels
from configs import speedrun94


def get_config() -> ConfigDict:
  config = speedrun94.get_config()
  config.evaluate.tta_fraction = 0.25
  config.model.dtype = 'bfloat16' if has_fast_kernels('bfloat16') else 'float32'
  return config
