"""ResNeXt-29, 8x64d; 34,426,698 parameters.

Follows "Aggregated Residual Transformations for Deep Neural Networks" (Xie et al., 2017), which
reports 96.35 % test accuracy on CIFAR-10, and 96.42 % with 16 groups.

  python launch.py --config=configs/resnext29.py
  python launch.py --config=configs/resnext29.py --config.model.groups=16
  python launch.py --config=configs/resnext29.py --config.model.squeeze=16
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 300
  config.batch_size = 128
  config.tags = ('cifar10', 'resnext')
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
  config.schedule.boundaries = (150, 225)

  config.model = ConfigDict()
  config.model.name = 'resnet'
  config.model.depth = 29
  config.model.widths = (64, 128, 256)
  config.model.block = 'bottleneck'
  config.model.shortcut = 'project'
  config.model.groups = 8
  config.model.group_width = 64
  config.model.squeeze = 0  # reduction of squeeze-and-excitation units; 0: none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
