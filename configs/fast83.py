"""83 % test accuracy on a small CPU, in as little time as possible from the start of the process.

This is the recipe of airbench94_muon (Jordan, 2024) with a network that needs an eighth of the
arithmetic, 15 million multiply-adds per image, for one and a half epochs: 279,056 parameters, 6.7
TFLOP in all. It computes in bfloat16 if the processor multiplies that in hardware.

  python launch.py --config=configs/fast83.py

Measured on 2 cores of an AMD EPYC (Zen 4) in bfloat16: 83.68 +- 0.33 % in 42.4 +- 1.5 s from the
start of the process (n = 5, seeds 0 to 4; python -m benchmarks time_to_accuracy).
"""

from ml_collections import ConfigDict

from cifar_jax.ops.dispatch import has_fast_kernels
from configs import airbench94_muon


def get_config() -> ConfigDict:
  config = airbench94_muon.get_config()
  config.epochs = 2
  config.max_steps = 288
  config.batch_size = 256
  config.tags = ('cifar10', 'fast')
  config.tensorboard = False  # its curves end after seconds
  config.data.validation = '1000'
  config.data.drop_remainder = False
  config.checkpoint.every_epochs = 0
  config.evaluate.every_epochs = 0
  config.evaluate.tta = 'flip'

  config.optimizer.learning_rate = 0.67 * config.batch_size
  config.optimizer.groups.filters.learning_rate_factor = 0.24 / config.optimizer.learning_rate
  # Without it no gradient has to pass through the first group to the largest maps.
  config.optimizer.groups.whitening_bias.frozen_from_epoch = 0.0

  config.model.widths = (24, 64, 128)
  config.model.convolutions = (1, 2, 2)
  config.model.dtype = 'bfloat16' if has_fast_kernels('bfloat16') else 'float32'
  return config
