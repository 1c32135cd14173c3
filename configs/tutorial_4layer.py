"""Four convolutions, a dense layer, and SGD at a rate of 0.1; 1,250,858 parameters.

Follows "CIFAR-10 classification using Keras Tutorial" (simongeek, plon.io, 2017), whose author
reports 71.29 %, 74.57 %, 75.32 % and 67.06 % accuracy on the test set used as validation after 10,
20, 50 and 100 epochs; the confusion matrix printed for the last adds up to 66.70 %. The 100 epochs
took 11 h 10 min on 16 CPU cores.

The article prints a momentum of 0.9, in a line that is not valid Python; the author's program has
no momentum, and Nesterov's step is then the plain one. The second line below is the article as
printed.

  python launch.py --config=configs/tutorial_4layer.py
  python launch.py --config=configs/tutorial_4layer.py --config.optimizer.momentum=0.9

Measured on 2 cores of an AMD EPYC (Zen 4) with --config.epochs=20 --config.model.dtype=bfloat16:
75.44 % in 12 min, and 71.93 % after the first ten epochs. On one NVIDIA H100 beside four other
trainings: 74.81 % in 4 min, and between 52.79 and 76.22 % in its last twenty epochs (n = 1,
seed 0).
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 100
  config.batch_size = 32
  config.tags = ('cifar10', 'cnn', 'tutorial', '4layer')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_sgd'
  config.optimizer.learning_rate = 0.1
  config.optimizer.momentum = 0.0
  config.optimizer.nesterov = True
  config.schedule.name = 'time_decay'
  config.schedule.decay = 1e-6  # per update: the rate falls to 86 % in 100 epochs

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64)  # one block for each
  config.model.block = ('conv3', 'conv3 valid', 'max_pool', 'dropout 0.25')
  config.model.head = ('flatten', 'dense 512', 'dropout 0.5')
  config.model.activation = 'relu'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
