"""WRN-28-10, and others by depth and width; 36,479,194 parameters.

Follows "Wide Residual Networks" (Zagoruyko and Komodakis, 2016), which reports 96.00 % test
accuracy, and 96.11 % with dropout.

  python launch.py --config=configs/wide_resnet28_10.py
  python launch.py --config=configs/wide_resnet28_10.py --config.model.dropout=0.3
  python launch.py --config=configs/wide_resnet28_10.py --config.model.depth=16 \
    --config.model.width=4
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'resnet', 'wide')
  config.data.validation = '5000'
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.augment.flip = 'random'
  config.augment.crop_padding = 4
  config.augment.crop_border = 'zero'
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.1
  config.optimizer.momentum = 0.9
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'piecewise'
  config.schedule.boundaries = (60, 120, 160)
  config.schedule.factors = (0.2, 0.04, 0.008)

  config.model = ConfigDict()
  config.model.name = 'wide_resnet'
  config.model.depth = 28
  config.model.width = 10
  config.model.dropout = 0.0
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
