"""83 % test accuracy on a small CPU, in as little time as possible from the start of the process.

python launch.py --config=configs/fast83.py
"""

from ml_collections import ConfigDict

from configs import airbench94


def get_config() -> ConfigDict:
  config = airbench94.get_config()
  config.epochs = 4
  config.max_steps = 0
  config.batch_size = 256
  config.tags = ('cifar10', 'fast')
  config.tensorboard = False
  config.data.validation = '5000'
  config.evaluate.every_epochs = 1
  config.evaluate.tta = 'flip'
  config.optimizer.learning_rate = 1.0
  config.average.every_steps = 0

  config.model.widths = (24, 64, 128)
  config.model.convolutions = (1, 2, 2)
  return config
