"""ConvNeXt-T on patches of 2x2; 27,824,362 parameters.

The network is that of "A ConvNet for the 2020s" (Liu et al., 2022) with smaller patches; the recipe
is ours and untuned.

  python launch.py --config=configs/convnext_tiny.py
  python launch.py --config=configs/convnext_tiny.py --config.model.depths='(2,2,6,2)' \
    --config.model.widths='(40,80,160,320)'
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.epochs = 200
  config.batch_size = 128
  config.tags = ('cifar10', 'convnext')
  config.data.validation = '5000'
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.augment.flip = 'random'
  config.augment.crop_padding = 4
  config.augment.crop_border = 'zero'
  config.loss.label_smoothing = 0.1
  config.optimizer.name = 'adamw'
  config.optimizer.learning_rate = 1e-3
  config.optimizer.weight_decay = 0.05
  config.optimizer.weight_decay_mask = 'kernels'
  config.optimizer.gradient_clip_norm = 1.0
  config.schedule.name = 'warmup_cosine'
  config.schedule.warmup_epochs = 10.0

  config.model = ConfigDict()
  config.model.name = 'convnext'
  config.model.depths = (3, 3, 9, 3)
  config.model.widths = (96, 192, 384, 768)
  config.model.patch = 2
  config.model.drop_path = 0.1
  config.model.dtype = 'float32'  # of the computation; 'bfloat16' halves memory on GPU and TPU
  return config
