"""Six convolutions and a wide dense layer, SGD with momentum; 2,395,434 parameters.

Follows "CIFAR-10 classification using Keras Tutorial" (simongeek, plon.io, 2017), whose author
reports 75.61 %, 75.31 %, 69.93 % and 68.66 % accuracy on the test set used as validation after 10,
20, 50 and 100 epochs, and 17 h 10 min for the last on 16 CPU cores. The optimizer, which the
article leaves out, is that of the author's program.

  python launch.py --config=configs/tutorial_6layer.py

Measured on 2 cores of an AMD EPYC (Zen 4) with --config.epochs=10 --config.model.dtype=bfloat16:
75.76 % in at most 21 min, on a machine shared with other work (n = 1, seed 0). In float32, 67
epochs on one NVIDIA H100 beside four other trainings and 33 on that EPYC: 74.33, 74.62, 68.93 and
65.65 % after 10, 20, 50 and 100 epochs, in 73 min (n = 1, seed 0). It was best in epoch 17, with
76.41 %, and between 59.71 and 67.37 % in its last twenty epochs.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 100
  config.batch_size = 32
  config.tags = ('cifar10', 'cnn', 'tutorial', '6layer')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9
  config.optimizer.nesterov = False
  config.optimizer.groups = ConfigDict({'dense': {'pattern': 'Dense_0/kernel', 'max_norm': 3.0}})
  config.schedule.name = 'time_decay'
  config.schedule.decay = 1e-6  # per update: the rate falls to 86 % in 100 epochs

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64, 128)  # one block for each
  config.model.block = ('conv3', 'dropout 0.2', 'conv3', 'max_pool')
  config.model.head = ('flatten', 'dropout 0.2', 'dense 1024', 'dropout 0.2')
  config.model.activation = 'relu'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
