"""Seven convolutions with leaky ReLU and two dense layers; 293,002 parameters.

Follows "Learning AI if You Suck at Math - P5 - Deep Learning and Convolutional Neural Nets in Plain
English!" (Daniel Jeffries, 2017), which reports 81.40 % accuracy and a loss of 0.599 on the test
set used as validation, at 10 seconds per epoch on one GPU. Only the author's program has the
network. The two convolutions that it calls atrous have a rate of 1, which makes them ordinary;
"conv3 x2 dilation=2" would dilate them.

  python launch.py --config=configs/p5_8140.py

Measured on one NVIDIA H100 beside four other trainings: 80.61 %, with a loss of 0.607, in 3 min
(n = 1, seed 1337), and between 80.08 and 81.44 % in its last ten epochs.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 75
  config.batch_size = 256
  config.seed = 1337  # the article's, for NumPy
  config.tags = ('cifar10', 'cnn', 'p5', '8140')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 32)  # one block for each
  config.model.block = (
    ('conv3 valid', 'conv3 x2', 'conv3 valid', 'conv3 valid', 'max_pool', 'dropout 0.35'),
    ('conv3 valid', 'conv3 x2', 'conv3 valid', 'max_pool', 'dropout 0.25'),
  )
  config.model.head = (
    'flatten',
    'dense 256 relu',
    'dropout 0.35',
    'dense 256 relu',
    'dropout 0.25',
  )
  config.model.activation = 'leaky_relu(0.003)'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
