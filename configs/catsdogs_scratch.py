"""Cats and dogs from scratch, at 150x150 pixels; 1,355,938 parameters.

Follows "Understanding Deep Convolutional Neural Networks with a practical use-case in Tensorflow
and Keras" (Ahmed Besbes, 2017), which reports 89.4 % after 34 epochs on 20,000 training
photographs. As in Keras 2.0, images are resized with nearest-neighbor interpolation and warped
without interpolation; the run stops after the third epoch in a row without a better validation
loss. All validation images count here; the article leaves out the last incomplete batch of 32, as
--config.evaluate.drop_remainder=True does.

  python launch.py --config=configs/catsdogs_scratch.py --config.data.dir=catsdogs

Measured on 1,602 training and 400 validation photographs: 57.33 +- 2.53 % after 9 to 11 epochs
(n = 3, seeds 0 to 2), since an epoch has 51 updates here and had 625 in the article.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 50
  config.batch_size = 32
  config.tags = ('folder', 'cnn')
  config.data.name = 'folder'  # data.dir: train|validation/CLASS/*, or CLASS/*
  config.data.validation = '0.2'  # where the folder has no validation of its own
  config.data.folder.image_size = (150, 150)
  config.data.folder.interpolation = 'nearest'

  config.augment.shear = 0.2  # radians
  config.augment.zoom = 0.2
  config.augment.interpolation = 'nearest'
  config.augment.border = 'nearest'
  config.augment.flip = 'random'

  config.optimizer.name = 'keras_sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9
  config.schedule.name = 'time_decay'
  config.schedule.decay = 0.01 / 50  # an update
  config.early_stopping.patience = 2
  config.early_stopping.patience_semantics = 'keras2.0'  # stops after the third epoch

  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (32, 32, 64)
  config.model.block = ('conv3 same', 'max_pool')
  config.model.head = ('dropout 0.25', 'flatten', 'dense 64', 'dropout 0.5')
  config.model.activation = 'relu'
  config.model.dtype = 'float32'
  return config
