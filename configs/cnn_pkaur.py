"""Three blocks of two convolutions and two dense layers (Parneet Kaur); 1,172,410 parameters.

Follows "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr Migdał,
deepsense.ai, 2017), which reports no score; the network's author reports 84.07 % accuracy on the
test set after 200 epochs without augmentation.

  python launch.py --config=configs/cnn_pkaur.py
  python launch.py --config=configs/cnn_pkaur.py --config.epochs=40 --config.schedule.name=cosine

The falling learning rate of the second line is ours, not the author's. With it, measured on 2 cores
of an AMD EPYC (Zen 4) in bfloat16: 84.50 % in 43 min, including validation (n = 1, seed 0). With
the first line, after 114 epochs on one NVIDIA H100 beside four other trainings: 82.87 % in 5 min
(n = 1, seed 0), and between 82.50 and 83.92 % from epoch 80 on.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'cnn', 'pkaur')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_adam'

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (48, 96, 192)  # one block for each
  config.model.block = ('conv3', 'conv3 valid', 'max_pool', 'dropout 0.25')
  config.model.head = ('flatten', 'dense 512', 'dropout 0.5', 'dense 256', 'dropout 0.5')
  config.model.activation = 'relu'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
