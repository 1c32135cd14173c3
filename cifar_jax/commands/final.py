"""Opens the test set for a study, once: is the config that the search found better, or was it luck?

  python -m cifar_jax final runs/cnn_simple_study --seeds=5

The best config and the study's baseline are trained anew, with seeds that no trial had, and are
measured on the test set, which no trial has opened. The means, their intervals and the p-value of
the difference are written to STUDY/final.json, the runs to STUDY/final/best/seed_<n> and
STUDY/final/baseline/seed_<n>. STUDY/test_looks.csv records when the test set was opened, and every
later look by evaluate, report or compare.

The best config is compared with the baseline that the space names, or with another config or run:

  python -m cifar_jax final runs/cnn_simple_study --against=configs/cnn_simple.py
  python -m cifar_jax final runs/cnn_simple_study --against=runs/cnn_simple --seeds=10

Options of the config may follow, for both sides, such as more epochs than the trials had:

  python -m cifar_jax final runs/cnn_simple_study --config.epochs=20

Ctrl-C saves and stops. The same line continues, even after kill -9, and retrains seeds that failed,
for example because memory ran out. Once all seeds have a result, the same line shows it and trains
nothing. --again trains once more, and that is recorded: if you ask a test set until it says yes,
its answer means nothing.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cifar_jax.commands import parsing, repeat
from cifar_jax.startup import early_start, process
from cifar_jax.utils import cache, paths
from cifar_jax.utils.errors import UserError

if TYPE_CHECKING:
  from cifar_jax.trials.final import Final


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = "tests a study's best config on the test set, once, with several seeds"
  parser = parsing.add_verb(
    verbs, 'final', run, about, __doc__, takes_overrides=True, computes=True, group='Try many'
  )
  parser.add_argument('study', type=parsing.run_path, metavar='STUDY', help='folder of the study')
  parser.add_argument(
    '--seeds', default='5', help='seeds of each side, given as for repeat; default: 5', metavar='N'
  )
  parser.add_argument(
    '--first_seed',
    type=int,
    metavar='SEED',
    help='the first of --seeds=N; default: the first that no trial had',
  )
  parser.add_argument(
    '--against',
    default='',
    metavar='CONFIG',
    help="config file or run to compare with; default: the study's baseline",
  )
  parser.add_argument('--again', action='store_true', help='train again although there is a result')
  parser.add_argument(
    '--storage', default='', help='storage of the study, if study.json does not have all of it'
  )
  parsing.add_options(parser, '--progress')


def run(arguments: argparse.Namespace) -> None:
  """Trains what is missing, writes the result and prints it."""
  from cifar_jax.trials import final as finals
  from cifar_jax.trials import final_result, test_looks

  study = arguments.study
  if not (study / test_looks.STUDY_NAME).is_file():
    raise UserError(
      f'{study} is not the folder of a study: it has no {test_looks.STUDY_NAME}; '
      'python -m cifar_jax search makes one'
    )
  result = finals.read_result(study)
  if result is not None and not arguments.again and not finals.has_failed(study, result):
    print('\n'.join(final_result.tell(study, result)))
    if _has_gone_on(arguments, result):
      print('the study has gone on since: its best config is now another one, not measured here')
    print('this final has been; --again trains once more, which is written down')
    return
  repeat.refuse_seed(arguments.overrides)
  process.outlive_readers()
  asked = _asked(arguments)
  early_start.start_accelerator()
  cache.warn_if_unwritable()
  with finals.alone(study):
    _train(arguments, finals.settle(asked, arguments.again))


def _train(arguments: argparse.Namespace, final: 'Final') -> None:
  """Trains what is missing, and writes and prints the result when nothing is."""
  from cifar_jax.report.epoch_images import EpochImages
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.search import page
  from cifar_jax.trials import final as finals
  from cifar_jax.trials import final_result
  from cifar_jax.trials import repeat as repeats

  runs = finals.runs_of(final)
  finals.begin(final)
  page.write_again(final.study, arguments.storage)
  progress = Progress(arguments.progress)
  left = sum(one.state != repeats.FINISHED for side in runs.values() for one in side)
  for name, side in runs.items():
    left -= sum(one.state != repeats.FINISHED for one in side)
    progress.brief = False  # the other side has another network, perhaps
    progress.note(f'\n{name}, {final.folder / name}')
    if repeats.train_each(
      side, progress, extra_callbacks=lambda config: [EpochImages(config)], runs_after=left
    ):
      progress.note('stopped and saved; the same command goes on from there')
      return
  content = final_result.conclude(final, runs)
  print('\n'.join(['', *final_result.tell(final.study, content)]))
  print(f'look at     {final.study / finals.RESULT}')
  if any(one.state == repeats.FAILED for side in runs.values() for one in side):
    sys.exit(1)


def _asked(arguments: argparse.Namespace) -> 'Final':
  """What the command line asks for, of the study as it is now."""
  from cifar_jax.utils.optional_deps import require

  require('search', 'optuna')
  from cifar_jax.search import results
  from cifar_jax.trials import final as finals

  best = results.best_config(arguments.study, arguments.storage)
  if arguments.against:
    baseline = _config_at(arguments.against)
  else:
    baseline = results.baseline_config(arguments.study, arguments.storage)
  first = arguments.first_seed
  if first is None and ',' not in arguments.seeds:
    first = results.next_seed(arguments.study, arguments.storage)
  seeds = repeat.read_seeds(arguments.seeds, first or 0)
  return finals.make(arguments.study, seeds, best, baseline, arguments.against, arguments.overrides)


def _has_gone_on(arguments: argparse.Namespace, result: Any) -> bool:
  """Whether the study has another best config than a result of its final, as far as can be told."""
  from cifar_jax.trials import final as finals
  from cifar_jax.utils.optional_deps import require

  try:
    require('search', 'optuna')
    from cifar_jax.search import results

    return not finals.is_of(result, results.best_config(arguments.study, arguments.storage))
  except (UserError, LookupError, TypeError):  # what it was found with may be gone; it is there
    return False


def _config_at(text: str) -> Any:
  """The config of a run's folder, or of a config file."""
  from cifar_jax import config as configs

  folder = paths.run_path(text)
  if (folder / configs.CONFIG_NAME).is_file():
    return configs.read(folder)
  if folder.is_dir():
    raise UserError(f'--against={text} is a folder and no run; give a config file or a run')
  return configs.load(text, option='--against=')
