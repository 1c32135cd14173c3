"""Searches learning rate, momentum, batch size, widths and augmentation of fast83.

  python -m cifar_jax search configs/spaces/fast83.py --minutes=60 --workers=1

A run takes less than a minute, so many fit into an hour; its two epochs give a pruner little to go
by. BASELINE, the first trial, is configs/fast83.py on the same images. With another batch size, a
run still sees the same number of images.
"""

from ml_collections import ConfigDict
from optuna import Trial

from configs import fast83

BASELINE = {
  'learning_rate': 0.67,
  'momentum': 0.85,
  'batch_size': 256,
  'label_smoothing': 0.2,
  'crop': 2,
  'width': 64,
}


def get_config(trial: Trial) -> ConfigDict:
  config = fast83.get_config()
  config.data.validation = '5000'
  images = config.max_steps * config.batch_size
  filters = config.optimizer.groups.filters
  absolute = filters.learning_rate_factor * config.optimizer.learning_rate

  config.batch_size = trial.suggest_categorical('batch_size', [128, 256, 512])
  config.max_steps = images // config.batch_size
  # Of one image, as the config gives it.
  rate = trial.suggest_float('learning_rate', 0.2, 2.0, log=True)
  config.optimizer.learning_rate = rate * config.batch_size
  filters.learning_rate_factor = absolute / config.optimizer.learning_rate
  config.optimizer.momentum = trial.suggest_float('momentum', 0.3, 0.95)
  config.loss.label_smoothing = trial.suggest_float('label_smoothing', 0.0, 0.3)
  config.augment.crop_padding = trial.suggest_int('crop', 0, 4)
  width = trial.suggest_categorical('width', [48, 64, 80])
  config.model.widths = (24, width, 2 * width)
  return config
