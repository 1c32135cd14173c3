"""DenseNet-BC of 250 layers that add 24 filters each; 15,324,406 parameters.

Follows "Densely Connected Convolutional Networks" (Huang et al., 2017), which reports 94.81 % test
accuracy without augmentation and 96.38 % with it.

  python launch.py --config=configs/densenet_bc250_24.py
"""

from ml_collections import ConfigDict

from configs import densenet40_12


def get_config() -> ConfigDict:
  config = densenet40_12.get_config()

  config.model = ConfigDict()
  config.model.name = 'densenet'
  config.model.depth = 250
  config.model.growth = 24
  config.model.bottleneck = True
  config.model.compression = 0.5
  config.model.dropout = 0.2  # 0 with augmentation
  config.model.remat = True  # much less memory, more time
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
