"""Three linear convolutions with max-pools between them; 113,738 parameters.

Follows "[Deep Learning Lab] Episode-2: CIFAR-10" (Deep Learning Turkey, 2018), of which the
available copies show three convolutions and pools without activations; we added the softmax layer.
The accuracies that the article reports (see `episode2`) belong to a network that has more in it.

  python launch.py --config=configs/episode2_as_printed.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 100
  config.batch_size = 64
  config.tags = ('cifar10', 'cnn', 'episode2', 'as-printed')
  config.data.validation = '10000'
  config.data.validation_from = 'last'  # as validation_split in Keras
  config.optimizer.name = 'keras_sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64, 128)  # one block for each
  config.model.block = ('conv3', 'max_pool')
  config.model.head = ('flatten',)
  config.model.activation = 'linear'  # max-pooling is all that is not linear
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
