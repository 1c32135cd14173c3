"""96 % in 37 epochs, with residual groups of three convolutions; 9,915,704 parameters, 4.9 PFLOP.

Follows "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Keller Jordan, 2024), which reports a
mean of 96.05 %.

  python launch.py --config=configs/airbench96.py
"""

from ml_collections import ConfigDict

from configs import airbench94


def get_config() -> ConfigDict:
  config = airbench94.get_config()
  config.epochs = 37
  config.max_steps = 0
  config.augment.crop_padding = 4
  config.augment.cutout = 12
  config.optimizer.learning_rate = 1.5 * 9 / 11.5
  config.optimizer.weight_decay = 0.012 / 9
  config.schedule.peak_epoch = 3.7
  config.schedule.end_factor = 0.0
  config.model.widths = (128, 384, 512)
  config.model.convolutions = (3, 3, 3)
  config.model.residual = True
  config.model.momentum = 0.9
  return config
