"""GoogLeNet's nine inception modules on small images; 5,871,914 parameters.

The modules are those of "Going Deeper with Convolutions" (Szegedy et al., 2015), each convolution
with BatchNorm, after a stem of one 3x3 convolution; the recipe is the one commonly used for
CIFAR-10 today.

  python launch.py --config=configs/googlenet.py
  python launch.py --config=configs/googlenet.py --config.model.width=0.5
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'inception')
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
  config.model.name = 'googlenet'
  config.model.width = 1.0  # factor of all filters
  config.model.dropout = 0.0
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
