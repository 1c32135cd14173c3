"""94 % in 8 epochs of 25 steps, with Muon for the 3x3 kernels; 1,971,640 parameters, 284 TFLOP.

Follows airbench94_muon of "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Keller Jordan, 2024),
which reports a mean of 94.01 % over 200 runs. Learning rates are the paper's times the batch size,
because it sums the loss over the batch and we take the mean; Muon's rate does not depend on that.

  python launch.py --config=configs/airbench94_muon.py
"""

from ml_collections import ConfigDict

from configs import airbench94


def get_config() -> ConfigDict:
  config = airbench94.get_config()
  config.epochs = 8
  config.max_steps = 0
  config.batch_size = 2000
  config.weight_averaging.name = 'none'

  head, biases, filters = 0.67 * 2000, 0.053 * 2000, 0.24
  config.optimizer.learning_rate = head
  config.optimizer.weight_decay = 2e-6 / 0.67
  config.optimizer.groups = ConfigDict(
    {
      'whitening_kernel': {'pattern': 'whitening/kernel', 'frozen_from_epoch': 0.0},
      'whitening_bias': {
        'pattern': 'whitening/bias',
        'learning_rate_factor': biases / head,
        'weight_decay_factor': head / biases,
        'schedule_epochs': 3.0,
        'frozen_from_epoch': 3.0,
      },
      'norm_biases': {
        'pattern': '.*/BatchNorm_.*/bias',
        'learning_rate_factor': biases / head,
        'weight_decay_factor': head / biases,
      },
      'filters': {
        'pattern': '.*/Conv_.*/kernel',
        'name': 'airbench_muon',
        'momentum': 0.6,
        'nesterov': True,
        'learning_rate_factor': filters / head,
      },
    }
  )
  config.schedule.peak_epoch = 0.0  # a line to 0 from the start
  config.schedule.end_factor = 0.0

  config.model.head = 'unit'
  config.model.whitening_bias = 'uniform'
  config.model.logit_scale = 1 / 256
  return config
