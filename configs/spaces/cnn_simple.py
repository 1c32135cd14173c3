"""Searches learning rate, batch size, dropout, head and augmentation of cnn_simple.

  python -m cifar_jax search configs/spaces/cnn_simple.py --minutes=60 --pruner=asha

BASELINE, the first trial, is the article's network as it was trained there.
"""

from ml_collections import ConfigDict
from optuna import Trial

from configs import cnn_simple

BASELINE = {'learning_rate': 1e-3, 'batch_size': 32, 'head': 'none', 'flip': False, 'crop': 0}


def get_config(trial: Trial) -> ConfigDict:
  config = cnn_simple.get_config()
  config.epochs = 10
  config.tensorboard = False
  config.data.validation = '5000'  # the article validates on the test set
  config.optimizer.learning_rate = trial.suggest_float('learning_rate', 3e-4, 1e-2, log=True)
  config.batch_size = trial.suggest_categorical('batch_size', [32, 64, 128, 256])

  head = trial.suggest_categorical('head', ['none', 'dense'])
  if head == 'dense':
    units = trial.suggest_categorical('units', [64, 128])
    dropout = trial.suggest_float('dropout', 0.0, 0.6, step=0.1)
    config.model.head = ('flatten', f'dense {units}', f'dropout {dropout:.1f}')

  flip = trial.suggest_categorical('flip', [False, True])
  config.augment.flip = 'random' if flip else 'none'
  config.augment.crop_padding = trial.suggest_int('crop', 0, 4)
  return config
