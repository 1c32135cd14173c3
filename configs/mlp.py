"""Two hidden layers of 128 sigmoid units; 411,146 parameters.

Follows "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr Migdał,
deepsense.ai, 2017), which reports about 45 % accuracy on the test set used as validation, and
suggests trying 2 or 3 hidden layers of 2 or 10 times the size.

  python launch.py --config configs/mlp.py
  python launch.py --config configs/mlp.py --config.model.head="('flatten','dense 1280')"
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 20
  config.batch_size = 32
  config.tags = ('cifar10', 'mlp')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = ()  # no convolutions
  config.model.block = ()
  config.model.head = ('flatten', 'dense 128', 'dense 128')
  config.model.activation = 'sigmoid'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
