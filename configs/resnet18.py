"""ResNet-18 with a stem for small images, or another depth; 11,173,962 parameters.

The network is that of "Deep Residual Learning for Image Recognition" (He et al., 2016) with one 3x3
convolution as its stem; the recipe is the one commonly used for it on CIFAR-10 today, SGD with a
cosine schedule.

  python launch.py --config=configs/resnet18.py
  python launch.py --config=configs/resnet18.py --config.model.depth=34
  python launch.py --config=configs/resnet18.py --config.model.depth=50 \
    --config.model.block=bottleneck
  python launch.py --config=configs/resnet18.py --config.model.squeeze=16
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'resnet')
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
  config.schedule.name = 'cosine'

  config.model = ConfigDict()
  config.model.name = 'resnet'
  config.model.depth = 18
  config.model.widths = (64, 128, 256, 512)
  config.model.shortcut = 'project'
  config.model.block = 'basic'
  config.model.squeeze = 0  # reduction of squeeze-and-excitation units; 0: none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
