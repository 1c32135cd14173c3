"""Two convolutions with max-pooling, no hidden dense layer; 42,442 parameters.

Follows "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr Migdał,
deepsense.ai, 2017), which reports 70 % accuracy on the test set used as validation.

  python launch.py --config configs/cnn_simple.py
  python launch.py --config configs/cnn_simple.py --config.model.widths='(64,128,256)'
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 20
  config.batch_size = 32
  config.tags = ('cifar10', 'cnn')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64)  # one block for each
  config.model.block = ('conv3 valid', 'max_pool')
  config.model.head = ('flatten',)
  config.model.activation = 'relu'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
