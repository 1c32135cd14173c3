"""DenseNet-BC of 100 layers, and deeper ones; 769,162 parameters.

Follows "Densely Connected Convolutional Networks" (Huang et al., 2017), which reports 94.08 % test
accuracy without augmentation and 95.49 % with it, which is the second line.

  python launch.py --config=configs/densenet_bc100_12.py
  python launch.py --config=configs/densenet_bc100_12.py --config.model.dropout=0 \
    --config.augment.flip=random --config.augment.crop_padding=4 \
    --config.augment.crop_border=zero
"""

from ml_collections import ConfigDict

from configs import densenet40_12


def get_config() -> ConfigDict:
  config = densenet40_12.get_config()

  config.model = ConfigDict()
  config.model.name = 'densenet'
  config.model.depth = 100
  config.model.growth = 12
  config.model.bottleneck = True
  config.model.compression = 0.5
  config.model.dropout = 0.2  # 0 with augmentation
  config.model.remat = False  # True: much less memory, more time
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
