"""DenseNet of 40 layers that add 12 filters each; 1,019,722 parameters.

Follows "Densely Connected Convolutional Networks" (Huang et al., 2017), which reports 93.00 % test
accuracy without augmentation and 94.76 % with it, which is the second line.

  python launch.py --config=configs/densenet40_12.py
  python launch.py --config=configs/densenet40_12.py --config.model.dropout=0 \
    --config.augment.flip=random --config.augment.crop_padding=4 \
    --config.augment.crop_border=zero
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 300
  config.batch_size = 64
  config.tags = ('cifar10', 'densenet')
  config.data.validation = '5000'
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.1
  config.optimizer.momentum = 0.9
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 1e-4
  config.schedule.name = 'piecewise'
  config.schedule.boundaries = (150, 225)

  config.model = ConfigDict()
  config.model.name = 'densenet'
  config.model.depth = 40
  config.model.growth = 12
  config.model.bottleneck = False
  config.model.compression = 1.0
  config.model.dropout = 0.2  # 0 with augmentation
  config.model.remat = False  # True: much less memory, more time
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
