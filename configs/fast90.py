"""90 % test accuracy on a small CPU, in as little time as possible from the start of the process.

This is fast83 with a wider network and 7.3 epochs: 36 million multiply-adds per image, 747,096
parameters, 78 TFLOP of training. It computes in bfloat16 if the processor multiplies that in
hardware.

  python launch.py --config=configs/fast90.py

Measured on 2 cores of an AMD EPYC (Zen 4) in bfloat16: 90.29 +- 0.09 % in 307 +- 8 s from the start
of the process (n = 5, seeds 0 to 4; python -m benchmarks time_to_accuracy).
"""

from ml_collections import ConfigDict

from configs import fast83


def get_config() -> ConfigDict:
  config = fast83.get_config()
  config.epochs = 8
  config.max_steps = 1400
  config.evaluate.tta = 'flip_translate'
  config.model.widths = (32, 128, 192)
  return config
