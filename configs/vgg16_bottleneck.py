"""Cats and dogs, with a small network on the frozen features of VGG16; 4,326,401 trained
parameters.

Follows "Understanding Deep Convolutional Neural Networks with a practical use-case in Tensorflow
and Keras" (Ahmed Besbes, 2017), which reports 90.7 % on 4,992 of 5,000 validation photographs. As
there, pixels are only divided by 255, without the means that VGG16 was trained with. The labels are
the true ones; the article assumed that each half of the images is one class. The weights are those
that Keras keeps in ~/.keras/models, vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5, or
config.model.weights.

  python launch.py --config=configs/vgg16_bottleneck.py --config.data.dir=catsdogs
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 15
  config.batch_size = 32
  config.tags = ('folder', 'transfer')
  config.data.name = 'folder'
  config.data.validation = '0.2'  # where the folder has no validation of its own
  config.data.folder.image_size = (150, 150)
  config.data.folder.interpolation = 'nearest'
  config.optimizer.name = 'keras_rmsprop'
  config.optimizer.learning_rate = 1e-3
  config.optimizer.groups.base = ConfigDict()
  config.optimizer.groups.base.pattern = 'base/.*'
  config.optimizer.groups.base.frozen_from_epoch = 0

  config.model = ConfigDict()
  config.model.name = 'pretrained'
  config.model.network = 'vgg16'
  config.model.weights = ''
  config.model.pooled = False  # maps of 4x4x512
  config.model.head = ('flatten', 'dense 512', 'dropout 0.5', 'dense 256', 'dropout 0.2')
  config.model.one_sigmoid = True  # binary cross-entropy of one unit
  config.model.features = 'cached'
  return config
