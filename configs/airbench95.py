"""95 % in 15 epochs with a wider airbench94; 4,604,728 parameters, 1.33 PFLOP of training.

Follows "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Keller Jordan, 2024), which reports a
mean of 95.01 % over 200 runs.

  python launch.py --config=configs/airbench95.py
"""

from ml_collections import ConfigDict

from configs import airbench94


def get_config() -> ConfigDict:
  config = airbench94.get_config()
  config.epochs = 15
  config.max_steps = 0
  config.optimizer.learning_rate = 1.5 * 10 / 11.5
  config.optimizer.weight_decay = 0.0153 / 10
  config.model.widths = (128, 384, 384)
  return config
