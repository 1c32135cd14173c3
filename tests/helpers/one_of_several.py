"""One of several processes that train together; it may be killed at a chosen moment.

  python -m tests.helpers.one_of_several RUN DATA EPOCHS COORDINATOR PROCESSES ID [MOMENT STEP]

MOMENT is one of tests/helpers/killed_run.py.
"""

import pathlib
import socket
import sys

from cifar_jax.devices import distributed
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from tests.helpers import killed_run, tiny


def free_address() -> str:
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return f'127.0.0.1:{free.getsockname()[1]}'


def main(
  run: str,
  data: str,
  epochs: str,
  coordinator: str,
  processes: str,
  number: str,
  moment: str = 'never',
  step: str = '0',
) -> None:
  config = tiny.get_config()
  config.update_from_flattened_dict(tiny.ONE_CONVOLUTION)
  config.data.dir, config.epochs, config.devices = data, int(epochs), 0
  config.batch_size = 32  # for four processes, and with a short last batch
  config.checkpoint.every_steps = 4
  together = distributed.initialize_distributed(coordinator, int(processes), int(number))
  with killed_run.arranged(moment, int(step)), together:
    loop.train(config.lock(), pathlib.Path(run), Progress('lines'))


if __name__ == '__main__':
  main(*sys.argv[1:])
