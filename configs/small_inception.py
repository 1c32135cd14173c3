"""A small Inception network for CIFAR-10; 1,649,402 parameters.

Follows "Understanding Deep Learning Requires Rethinking Generalization" (Zhang et al., 2017): SGD
whose rate of 0.1 falls by 5 % each epoch. The paper crops images to 28x28 and reports 89.31 % test
accuracy with random crops and 85.75 % without them.

  python launch.py --config=configs/small_inception.py
  python launch.py --config=configs/small_inception.py --config.augment.crop_padding=4
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 60
  config.batch_size = 128
  config.tags = ('cifar10', 'inception')
  config.data.validation = '5000'
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.1
  config.optimizer.momentum = 0.9
  config.schedule.name = 'exponential'
  config.schedule.factor = 0.95

  config.model = ConfigDict()
  config.model.name = 'small_inception'
  config.model.width = 1.0  # factor of all filters
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
