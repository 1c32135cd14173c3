"""ResNet-20, and 32, 44, 56 or 110 by depth; 269,722 parameters, 1,727,962 for 110.

Follows "Deep Residual Learning for Image Recognition" (He et al., 2016), which reports 91.25 % test
accuracy (92.49, 92.83, 93.03 and 93.57 % for the deeper ones) after 64,000 updates on 45,000
images. The paper subtracts a mean for each pixel; here it is one for each channel. The deepest
network starts at a tenth of the rate until its training accuracy is above 20 %, or here for one
epoch, as in the last line.

  python launch.py --config=configs/resnet20.py
  python launch.py --config=configs/resnet20.py --config.model.depth=56
  python launch.py --config=configs/resnet20.py --config.model.depth=110 \
    --config.optimizer.learning_rate=0.01 --config.schedule.boundaries='(1.0,90.9,136.4)' \
    --config.schedule.factors='(10.0,1.0,0.1)'
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 182
  config.max_steps = 64000
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
  config.optimizer.weight_decay = 1e-4
  config.schedule.name = 'piecewise'
  config.schedule.boundaries = (32000 / 352, 48000 / 352)  # epochs of 352 updates

  config.model = ConfigDict()
  config.model.name = 'resnet'
  config.model.depth = 20
  config.model.widths = (16, 32, 64)
  config.model.shortcut = 'pad'
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
