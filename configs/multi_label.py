"""A small network for images with several labels each, which are listed in a table.

The labels of an image are in one cell, separated by semicolons or bars, or each label has a column
of 0 and 1.

  python launch.py --config=configs/multi_label.py --config.data.dir=photos/labels.csv
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 20
  config.batch_size = 64
  config.data.name = 'csv'
  config.data.multi_label = True
  config.data.folder.image_size = (64, 64)
  config.data.folder.resize = 'crop'
  config.data.normalize = 'channel'
  config.data.validation = '0.2'  # where the table has no column of splits
  config.augment.flip = 'random'
  config.augment.crop_padding = 6
  config.checkpoint.best = 'val_map'  # mean average precision
  config.optimizer.name = 'adamw'
  config.optimizer.learning_rate = 1e-3
  config.optimizer.weight_decay = 0.01
  config.schedule.name = 'cosine'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64, 128, 128)  # one block for each
  config.model.block = ('conv3', 'batch_norm', 'max_pool')
  config.model.head = ('global_average_pool', 'dropout 0.25')
  config.model.activation = 'relu'
  config.model.dtype = 'float32'
  return config
