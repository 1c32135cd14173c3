"""AlexNet for images of 32x32; 2,472,266 parameters.

The convolutions of "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et
al., 2012) with the widths of its single-column successor, without local response normalization,
with pools of 2x2 and one dense layer; public programs report 77.22 % test accuracy for this form.
The second line below has two dense layers, as in the paper.

  python launch.py --config=configs/alexnet.py
  python launch.py --config=configs/alexnet.py --config.model.head="('flatten',
    'dropout 0.5','dense 4096','dropout 0.5','dense 4096')"
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 164
  config.batch_size = 128
  config.tags = ('cifar10', 'alexnet')
  config.data.validation = '5000'
  config.data.pad_to = 32
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.augment.flip = 'random'
  config.augment.crop_padding = 4
  config.augment.crop_border = 'zero'
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'piecewise'
  config.schedule.boundaries = (81, 122)

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (64, 192, 384, 256, 256)
  config.model.block = (
    ('conv11 stride=4', 'max_pool'),
    ('conv5', 'max_pool'),
    ('conv3',),
    ('conv3',),
    ('conv3', 'max_pool'),
  )
  config.model.head = ('flatten',)
  config.model.activation = 'relu'
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
