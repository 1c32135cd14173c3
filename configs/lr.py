"""Multinomial logistic regression on the pixels; 30,730 parameters.

Follows "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr Migdał,
deepsense.ai, 2017), which reports 41 % accuracy on the training set and 37 % on the test set used
as validation.

  python launch.py --config configs/lr.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 20
  config.batch_size = 128
  config.tags = ('cifar10', 'logistic-regression')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = ()  # no convolutions
  config.model.block = ()
  config.model.head = ('flatten',)
  config.model.activation = 'relu'  # of layers that name none; there are none yet
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
