"""A small network on the built-in pictures: no download, no waiting.

  python launch.py --config=configs/quickstart.py

The pictures show ten kinds of shapes. Use this config to try an installation; it is not a recipe
for photographs.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 5
  config.batch_size = 128
  config.tags = ('quickstart',)
  config.data.name = 'synthetic'  # ten kinds of shapes, drawn by a program
  config.optimizer.name = 'adam'
  config.optimizer.learning_rate = 2e-3
  config.schedule.name = 'cosine'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (16, 32, 64)  # one block for each
  config.model.block = ('conv3', 'max_pool')
  config.model.head = ('flatten', 'dense 64', 'dropout 0.25')
  config.model.activation = 'relu'
  config.model.dtype = 'float32'
  return config
