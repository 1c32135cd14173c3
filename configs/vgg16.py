"""VGG-16 with BatchNorm, and 11, 13 or 19 by depth; 14,728,266 parameters.

The convolutions are those of "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(Simonyan and Zisserman, 2015), 14,714,688 parameters without BatchNorm; the single dense layer and
the recipe are those commonly used for CIFAR-10 today. The last line has the paper's dense layers.

  python launch.py --config=configs/vgg16.py
  python launch.py --config=configs/vgg16.py --config.model.depth=19
  python launch.py --config=configs/vgg16.py --config.model.head="('flatten',
    'dense 4096','dropout 0.5','dense 4096','dropout 0.5')"
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'vgg')
  config.data.validation = '5000'
  config.data.pad_to = 32  # five pools need it
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.augment.flip = 'random'
  config.augment.crop_padding = 4
  config.augment.crop_border = 'zero'
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.05
  config.optimizer.momentum = 0.9
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'cosine'

  config.model = ConfigDict()
  config.model.name = 'vgg'
  config.model.depth = 16
  config.model.widths = (64, 128, 256, 512, 512)
  config.model.batch_norm = True
  config.model.head = ('flatten',)
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
