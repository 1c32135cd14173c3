"""The learning-rate range test (Smith, 2017): a few hundred updates, each with a higher rate than
the one before, show at which rates the loss falls fastest and begins to rise.

  python -m cifar_jax lr_range --config=configs/cnn_simple.py
  python -m cifar_jax lr_range --config=configs/fast83.py --highest=100 --config.batch_size=256

Everything else is as the config says, with any optimizer; the factors of parameter groups multiply
the rate, and the schedule is left out. The loss is smoothed by s <- 0.95 s + 0.05 loss, corrected
for its start; it lags about 20 updates behind, so more --steps show more detail. The test ends when
the smoothed loss is four times its lowest value. lr_range.csv and the picture, lr_range.png and
.svg, are written to the folder --out; no run is made.

The test is only a hint. It shows the start of one training with one seed; a rate that is good for
the whole training may be several times lower, or higher with a warm-up. The range depends on the
batch size (a larger batch tolerates a larger rate), the optimizer, its momentum and decay. Try
several rates in the range, for example with `repeat --vary` or `search`.
"""

import argparse
import csv
import pathlib
from typing import TYPE_CHECKING, Any

from cifar_jax.commands import parsing

if TYPE_CHECKING:
  from cifar_jax.trainer.lr_range import Measured, Suggestion


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'finds learning rates to try, by a short training with a rising rate'
  parser = parsing.add_verb(
    verbs, 'lr_range', run, about, __doc__, takes_overrides=True, computes=True, group='Train'
  )
  parsing.add_options(parser, '--config')
  parser.add_argument('--lowest', type=float, default=1e-6, help='first rate; default: 1e-6')
  parser.add_argument('--highest', type=float, default=10.0, help='last rate; default: 10')
  parser.add_argument('--steps', type=int, default=300, help='updates; default: 300')
  parser.add_argument(
    '--linear', action='store_true', help='raise the rate by equal steps instead of equal factors'
  )
  parser.add_argument(
    '--out', type=parsing.path, metavar='FOLDER', help='default: runs/<config name>_lr_range'
  )


def run(arguments: argparse.Namespace) -> None:
  """Trains, writes the table and the picture, and says what two rules make of them."""
  from cifar_jax import config as configs
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.run_dir.signals import stop_signals
  from cifar_jax.trainer import lr_range
  from cifar_jax.utils.files import make_folder
  from cifar_jax.utils.paths import run_path

  config = configs.load(arguments.config, arguments.overrides)
  rates = lr_range.rising_rates(
    arguments.lowest, arguments.highest, arguments.steps, arguments.linear
  )
  name = configs.name_of(arguments.config)
  folder = arguments.out or run_path(f'runs/{name}_lr_range')
  make_folder(folder)
  with stop_signals() as stop:
    measured = lr_range.measure(config, rates, Progress(), lambda: stop.asked)
  suggestion = lr_range.suggest(measured)
  _write_table(folder / 'lr_range.csv', measured)
  picture = _draw(folder, measured, suggestion, f'{name}: {_system(config)}')
  print(described(measured, suggestion, _system(config)))
  print(f'look at     {folder / "lr_range.csv"}{picture}')


def _write_table(path: pathlib.Path, measured: 'Measured') -> None:
  """One row per update, whole or not at all."""
  from cifar_jax.utils.files import disk_errors, replacing

  with (
    disk_errors(path.parent),
    replacing(path) as draft,
    draft.open('w', encoding='utf-8', newline='') as file,
  ):
    writer = csv.writer(file)
    writer.writerow(('update', 'learning_rate', 'loss', 'smoothed_loss'))
    columns = zip(measured.rates, measured.losses, measured.smoothed, strict=True)
    writer.writerows((number, *row) for number, row in enumerate(columns, 1))


def described(measured: 'Measured', suggestion: 'Suggestion | None', system: str) -> str:
  """What was seen, and the two rules, in a few lines."""
  made, last = len(measured.rates), measured.rates[-1] if measured.rates else 0.0
  ends = {
    'diverged': f'the smoothed loss was four times its lowest value at {last:.2g}',
    'not finite': f'the loss or the parameters were not finite after {last:.2g}',
    'stopped': f'stopped at {last:.2g}',
    '': f'the smoothed loss was never four times its lowest value, up to {last:.2g}',
  }
  lines = [f'range test  {made} updates, {system}', f'end         {ends[measured.end]}']
  if suggestion is None or not suggestion.falls:
    lines.append(
      'suggestion  none: the loss did not fall by more than it scatters; try more --steps, or '
      'another --lowest and --highest'
    )
    return '\n'.join(lines)
  low, high = sorted((suggestion.steepest, suggestion.tenth))
  return '\n'.join(
    [
      *lines,
      f"falls       fastest at {suggestion.steepest:.2g} (fastai's rule 'steep')",
      f'lowest      at {suggestion.minimum:.2g}, a tenth of which is {suggestion.tenth:.2g} '
      "(fastai's rule 'minimum')",
      f'suggestion  rates between {low:.1g} and {high:.1g} are worth a trial, none above '
      f'{suggestion.minimum:.1g}',
      '            It is no oracle: these are the first updates of one seed. Another batch size, '
      'optimizer,\n            momentum, decay or warm-up moves the range.',
    ]
  )


def _system(config: Any) -> str:
  groups = ', groups with their factors' if config.optimizer.groups else ''
  return f'{config.optimizer.name}, batches of {config.batch_size}{groups}'


def _draw(
  folder: pathlib.Path, measured: 'Measured', suggestion: 'Suggestion | None', title: str
) -> str:
  """Writes the picture; returns what is to be said of it."""
  from cifar_jax.figures import charts, files
  from cifar_jax.utils.errors import UserError

  marked = {}
  if suggestion is not None and suggestion.falls:
    marked = {
      'falls fastest': suggestion.steepest,
      'a tenth of the lowest': suggestion.tenth,
      'lowest': suggestion.minimum,
    }
  try:
    figure = charts.learning_rate_range(
      measured.rates, measured.losses, measured.smoothed, marked, title
    )
    files.save_figure(figure, folder, 'lr_range')
  except UserError as error:  # matplotlib is optional
    return f'; no picture: {error}'
  return f' and {folder / "lr_range.png"}'
