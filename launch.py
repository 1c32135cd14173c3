"""Trains a network; the same command again resumes it.

  python launch.py --config=configs/cnn_adv.py
  python launch.py --config=configs/cnn_adv.py --config.optimizer.learning_rate=3e-4

Everything is written to the run's folder (--workdir, by default runs/<config name>). Ctrl-C or
SIGTERM saves and stops. python -m cifar_jax options explains every option. On several hosts, run
the same command on each of them (docs/start/many_devices.md).
"""

from cifar_jax.startup import process

if __name__ == '__main__':
  process.prepare(patient=True)

from collections.abc import Sequence

from absl import app, flags, logging

from cifar_jax import config as configs
from cifar_jax.devices import distributed
from cifar_jax.run_dir import references
from cifar_jax.startup import accelerators, early_start, host_memory, xla_flags
from cifar_jax.utils import cache, dotted_options
from cifar_jax.utils.errors import UserError, exit_on_user_error

_CONFIG = flags.DEFINE_string('config', None, 'Path of the config file.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; by default runs/<config name>.')
_PROGRESS = flags.DEFINE_enum(
  'progress', 'auto', ['auto', 'bar', 'lines', 'silent'], 'auto: a bar on a terminal, else lines.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', '', "HOST:PORT of process 0, if there are several; 'auto' asks the cluster."
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'The number of processes.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'The number of this one, from 0.')


def main(argv: Sequence[str]) -> None:
  """Trains as the flags, and the overrides of the config after the first word, say."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the run's own lines say what a reader needs
  with exit_on_user_error():
    if not _CONFIG.value:
      raise UserError('--config is missing; for example --config=configs/cnn_adv.py')
    host_memory.configure_malloc()
    flags_note = xla_flags.set_flags()
    config = configs.load(_CONFIG.value, argv[1:])
    run = references.resolve(_WORKDIR.value or f'runs/{configs.name_of(_CONFIG.value)}')
    with distributed.initialize_distributed(
      _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    ):
      early_start.start_accelerator()
      cache.warn_if_unwritable()
      from cifar_jax.report.epoch_images import EpochImages
      from cifar_jax.run_dir.progress import Progress
      from cifar_jax.trainer.loop import train
      from cifar_jax.trials.look_recorder import LookRecorder

      accelerators.warn_if_unused()
      callbacks = [EpochImages(config), LookRecorder('launch')]
      train(config, run, Progress(_PROGRESS.value), flags_note, callbacks)
      process.finish()


def _parse(argv: Sequence[str]) -> list[str]:
  with exit_on_user_error():
    others, overrides = dotted_options.split(argv, 'config')
    configs.parse_flags(others)
  return [argv[0], *overrides]


if __name__ == '__main__':
  try:
    app.run(main, flags_parser=_parse)
  except SystemExit as end:
    process.leave(end.code)
    raise
