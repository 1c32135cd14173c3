"""`cnn_pkaur` trained for 200 more epochs with zoom and flips; 1,172,410 parameters.

Follows a notebook of Parneet Kaur, which "Starting deep learning hands-on: image classification on
CIFAR-10" (Piotr Migdał, deepsense.ai, 2017) points to. There, the network that reached 84.07 % in
200 epochs is trained for 200 more, with zoom by up to 20 % and left-right flips, and reaches
85.97 %. This config does both in one run of 400 epochs.

  python launch.py --config=configs/cnn_pkaur_augmented.py
"""

from ml_collections import ConfigDict

from configs import cnn_pkaur


def get_config() -> ConfigDict:
  config = cnn_pkaur.get_config()
  config.epochs = 400
  config.tags = ('cifar10', 'cnn', 'pkaur', 'augmented')
  config.augment.from_epoch = 200
  config.augment.flip = 'random'
  config.augment.zoom = 0.2
  config.augment.interpolation = 'nearest'  # as Keras did then, and its border
  config.augment.border = 'nearest'
  return config
