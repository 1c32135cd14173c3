"""`cnn_pkaur` trained on for 200 epochs with zoom and flips; 1,172,410 parameters.

After a notebook of Parneet Kaur, which "Starting deep learning hands-on: image classification on
CIFAR-10" (Piotr Migdał, deepsense.ai, 2017) points to: the network that reached 84.07 % in 200
epochs goes on from there, with zoom by up to 20 % and left-right flips, to 85.97 %; so that stands
for 400 epochs. This is both in one run.

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
