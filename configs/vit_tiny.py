"""A vision transformer of size Ti on patches of 4x4; 5,362,762 parameters.

The network is that of "An Image is Worth 16x16 Words" (Dosovitskiy et al., 2021); the recipe is
ours and untuned. Transformers trained on only 50,000 images fall behind convolutions.

  python launch.py --config=configs/vit_tiny.py
  python launch.py --config=configs/vit_tiny.py --config.model.depth=6
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'vit')
  config.data.validation = '5000'
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.augment.flip = 'random'
  config.augment.crop_padding = 4
  config.augment.crop_border = 'zero'
  config.loss.label_smoothing = 0.1
  config.optimizer.name = 'adamw'
  config.optimizer.learning_rate = 5e-4
  config.optimizer.weight_decay = 0.05
  config.optimizer.weight_decay_mask = 'kernels'
  config.optimizer.gradient_clip_norm = 1.0
  config.schedule.name = 'warmup_cosine'
  config.schedule.warmup_epochs = 10.0

  config.model = ConfigDict()
  config.model.name = 'vit'
  config.model.patch = 4
  config.model.width = 192
  config.model.depth = 12
  config.model.heads = 3
  config.model.hidden_factor = 4
  config.model.dropout = 0.0
  config.model.drop_path = 0.1
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
