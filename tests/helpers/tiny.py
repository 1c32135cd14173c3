"""A small network with BatchNorm and dropout, for tests; data.dir has to be set."""

from ml_collections import ConfigDict

from configs import base

# One convolution compiles fast for many devices; SGD, since Adam makes much of rounding.
ONE_LAYER = {'model.widths': (4,), 'model.head': ('flatten', 'dropout 0.5')}
# For tests of what a run does with any network.
LINEAR = {'model.widths': (), 'model.block': (), 'model.head': ('flatten',)}
ONE_CONVOLUTION = {
  **ONE_LAYER,
  'augment.flip': 'random',
  'augment.crop_padding': 1,
  'optimizer.name': 'sgd',
  'optimizer.learning_rate': 0.01,  # larger ones let rounding grow beyond what tests allow
  'optimizer.momentum': 0.9,
}


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 3
  config.batch_size = 30  # of 180 images; a short last batch is a program of its own
  config.devices = 1
  config.tensorboard = False
  config.data.name = 'tiny'
  config.data.validation = '20'
  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (4, 8)
  config.model.block = ('conv3 same', 'max_pool', 'batch_norm', 'dropout 0.25')
  config.model.head = ('flatten', 'dense 16', 'dropout 0.5')
  config.model.activation = 'relu'
  config.model.dtype = 'float32'
  return config
