"""The convolutional network of the Keras examples (François Chollet); 1,250,858 parameters.

Follows "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr Migdał,
deepsense.ai, 2017), which trains it without the augmentation of the original and reports no score;
the original claims 75 % accuracy after 25 epochs and 79 % after 50.

  python launch.py --config configs/cnn_fchollet.py

With the shifts and flips of the original:

  python launch.py --config configs/cnn_fchollet.py --config.augment.flip=random \
    --config.augment.width_shift=0.1 --config.augment.height_shift=0.1 \
    --config.augment.interpolation=nearest
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 32
  config.tags = ('cifar10', 'cnn', 'fchollet')
  config.data.validation = 'test'  # as the article does; keep it out of choices of your own
  config.optimizer.name = 'keras_rmsprop'
  config.optimizer.learning_rate = 1e-4
  config.schedule.name = 'time_decay'
  config.schedule.decay = 1e-6  # per update: the rate falls to 76 % in 200 epochs

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 64)  # one block for each
  config.model.block = ('conv3', 'conv3 valid', 'max_pool', 'dropout 0.25')
  config.model.head = ('flatten', 'dense 512', 'dropout 0.5')
  config.model.activation = 'relu'  # of layers that name none
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
