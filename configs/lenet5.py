"""LeNet-5 (LeCun et al., 1998) on gray images of 32x32 pixels; 61,706 parameters.

Follows "Understanding Deep Convolutional Neural Networks with a practical use-case in Tensorflow
and Keras" (Ahmed Besbes, 2017), which draws it with full connections between the convolutions and
trains nothing with it. Tanh and average pooling are as in 1998; the recipe is ours. In color, the
network has 62,006 parameters. Images of 28x28 get a black border.

  python launch.py --config=configs/lenet5.py
  python launch.py --config=configs/lenet5.py --config.data.channels=3
  python launch.py --config=configs/lenet5.py --config.data.name=mnist
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 20
  config.batch_size = 128
  config.tags = ('cifar10', 'cnn', 'lenet')
  config.data.channels = 1  # gray
  config.data.pad_to = 32
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (6, 16)  # one block for each
  config.model.block = ('conv5 valid', 'avg_pool')  # or 'max_pool'
  config.model.head = ('flatten', 'dense 120', 'dense 84')
  config.model.activation = 'tanh'  # of layers that name none; or 'relu'
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
