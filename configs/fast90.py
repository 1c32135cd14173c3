"""90 % test accuracy on a small CPU, in as little time as possible from the start of the process.

As fast83, but wider and for longer.

  python launch.py --config=configs/fast90.py
"""

from ml_collections import ConfigDict

from configs import fast83


def get_config() -> ConfigDict:
  config = fast83.get_config()
  config.epochs = 5
  config.max_steps = 0
  config.model.widths = (32, 128, 192)
  return config
