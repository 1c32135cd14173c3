"""What the commands on studies have in common, from their arguments to their end."""

import argparse
import dataclasses
import hashlib
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from cifar_jax import config as configs
from cifar_jax.search import (
  objectives,
  page,
  results,
  rows,
  samplers,
  show,
  space,
  study,
  supervisor,
  table,
  worker,
)
from cifar_jax.search.budget import Budget, spent
from cifar_jax.search.study import STUDY_NAME, OpenStudy, Plan, Proposer
from cifar_jax.startup import process, processor
from cifar_jax.trials import test_looks
from cifar_jax.utils.errors import UserError

_TRIALS = 20
_MOST_WORKERS = 256  # on one machine
_MOST_SEEDS = 1000  # runs of one trial


def run(
  arguments: argparse.Namespace,
  kind: str,
  proposer: Proposer,
  baseline: Mapping[str, Any] | None = None,
) -> None:
  """Begins a study or goes on with it, as its command line says; a worker works for it.

  Args:
    arguments: What `commands.search.add_study_options` reads, with `space` and `overrides`.
    kind: 'search' or 'evolve'.
    proposer: What makes the configs.
    baseline: What the first trial suggests.

  Raises:
    UserError: a mistake of the user.
  """
  process.outlive_readers()
  plan, budget, folder = plan_of(arguments, kind), budget_of(arguments), folder_of(arguments)
  if arguments.as_worker:
    if worker.work(study.join(folder, plan), proposer, budget):
      sys.exit(worker.GO_ON)
    return
  _check_count('workers', arguments.workers, _MOST_WORKERS)
  _check_folder(folder)
  suggested = study.check_proposals(proposer, plan, baseline)
  if kind == 'search' and not suggested:
    raise UserError(
      f'{plan.space} asks its trial for nothing, so that all trials would be the same; let it '
      "suggest something, as trial.suggest_float('learning_rate', 1e-4, 1e-2, log=True)"
    )
  samplers.check_ranges(plan.sampler, suggested)
  opened = study.open_study(folder, plan, baseline)
  study.check_same_words(opened, suggested)
  shown = show.Show()
  shown.note(_header(opened, budget, arguments.workers))
  for name, value in space.outside(baseline or {}, suggested).items():
    shown.note(
      f'baseline    {name}={value}, outside of what {plan.space} suggests: {suggested[name]}'
    )

  def tell_of_edits() -> None:
    for change in study.note_space(folder, _digest(arguments.space)):
      shown.note(f'changed     {change}')

  try:
    ended = supervisor.supervise(
      opened, worker_command(), arguments.workers, budget, shown, tell_of_edits
    )
  finally:
    shown.update_now(opened, budget)
    shown.close()
  if not ended:
    shown.note('stopped and saved; the same command goes on from there')
  finish(opened)


def finish(opened: OpenStudy) -> None:
  """Writes what a study leaves, and says where to look."""
  trials = opened.trials()
  best, drawn = results.write_best(opened), page.write_page(opened)
  print(f'\n{show.counted(trials)}, {show.best_words(opened, trials)}')
  if best is not None:
    print(f'best        {results.launch_line(best)}')
    if shares := page.importances(opened):
      print(f'importance  {", ".join(f"{name} {share:.2f}" for name, share in shares.items())}')
    print(f'test set    {test_looks.sentence(opened.folder)}')
  print(f'look at     {drawn} and {opened.folder / table.NAME}')


def plan_of(arguments: argparse.Namespace, kind: str) -> Plan:
  """What the command line wants of a study.

  Raises:
    UserError: it asks for what no study does.
  """
  _check_count('seeds', arguments.seeds, _MOST_SEEDS)
  study.check_overrides(arguments.overrides)
  return Plan(
    kind=kind,
    space=arguments.space,
    overrides=tuple(arguments.overrides),
    objectives=objectives.parse(arguments.objectives),
    seeds=arguments.seeds,
    sampler=getattr(arguments, 'sampler', 'random'),
    pruner=getattr(arguments, 'pruner', 'none'),
    sampler_seed=arguments.sampler_seed,
    storage=arguments.storage,
    settings=getattr(arguments, 'settings', {}),
    space_digest=_digest(arguments.space),
  )


def _digest(space: str) -> str:
  file, argument = configs.split(configs.find(space))
  content = pathlib.Path(file).read_bytes() + argument.encode()
  return hashlib.sha256(content).hexdigest()[:16]


def budget_of(arguments: argparse.Namespace) -> Budget:
  """The bounds of a command line, or the default."""
  given = (arguments.trials, arguments.epochs, arguments.minutes)
  return Budget(_TRIALS) if given == (None, None, None) else Budget(*given)


def folder_of(arguments: argparse.Namespace) -> pathlib.Path:
  """The folder of the study of a command line."""
  if arguments.folder:
    return pathlib.Path(arguments.folder)
  return pathlib.Path('runs') / f'{configs.name_of(arguments.space)}_study'


def is_study(path: str) -> bool:
  """Whether a path is the folder of a study."""
  return (pathlib.Path(path) / STUDY_NAME).is_file()


def worker_command() -> list[str]:
  """This command once more, as a worker."""
  return [sys.executable, '-m', 'cifar_jax', *sys.argv[1:], '--as_worker']


def show_state(arguments: argparse.Namespace) -> None:
  """Shows a study, and goes on with nothing."""
  folder = pathlib.Path(arguments.space) if os.path.isdir(arguments.space) else folder_of(arguments)
  opened = study.reopen(folder, arguments.storage)
  trials = opened.trials()
  rows.Table().write(opened, trials)
  for trial in trials:
    print(show.line_of(opened, trial))
  finish(opened)
  print(f'go on       {_command_of(opened)}')


def _check_count(flag: str, count: int, most: int) -> None:
  if not 1 <= count <= most:
    raise UserError(f'--{flag}={count}: give 1 to {most}')


def _command_of(opened: OpenStudy) -> str:
  """The command line that goes on with a study, without its budget."""
  plan = opened.plan
  words = ['python', '-m', 'cifar_jax', plan.kind]
  words.append(f'--config={plan.space}' if plan.kind == 'evolve' else plan.space)
  words.append(f'--folder={opened.folder}')
  flags: dict[str, Any] = {
    'objectives': ','.join(plan.objectives),
    'seeds': plan.seeds,
    'sampler': plan.sampler,
    'pruner': plan.pruner,
    'sampler_seed': plan.sampler_seed,
    'storage': plan.storage,
    **plan.settings,
  }
  usual = {field.name: field.default for field in dataclasses.fields(Plan)}
  usual['objectives'] = ','.join(Plan.objectives)
  if plan.kind == 'evolve':  # which chooses by itself
    usual['sampler'] = plan.sampler
  for name, value in flags.items():
    if value is True:
      words.append(f'--{name}')
    elif value is not False and value != usual.get(name):
      words.append(f'--{name}={value}')
  if (workers := supervisor.workers_of(opened.folder)) > 1:
    words.append(f'--workers={workers}')
  return f'{shlex.join([*words, *plan.overrides])} --trials=N'


def _check_folder(folder: pathlib.Path) -> None:
  """Raises UserError where a study would lie in a run, in which nobody looks for trials."""
  if (folder / configs.CONFIG_NAME).is_file():
    raise UserError(f'--folder={folder} is the folder of a run; choose another one')


def _header(opened: OpenStudy, budget: Budget, workers: int) -> str:
  plan, trials = opened.plan, opened.trials()
  bounds = ', '.join(f'{value:g} {name}' for name, value in budget.bounds().items())
  seeds = f', mean of {plan.seeds} seeds' if plan.seeds > 1 else ''
  lines = [
    f'study       {opened.folder} in {opened.store.where}',
    f'objectives  {", ".join(plan.objectives)}{seeds}',
    # What an evolution does is said by itself, in sentences.
    *([] if plan.settings else [f'search      {show.way_of(plan)}']),
    f'workers     {_crew(workers)}',
    f'budget      {bounds}',
  ]
  if test_looks.read(opened.folder):
    lines.append(f'test set    {test_looks.sentence(opened.folder)}')
  lines += [f'changed     {change}' for change in opened.changes]
  if study.ended(trials):
    cost = spent(trials, ended_only=True)
    lines.append(
      f'so far      {show.counted(trials)}, {cost.epochs} epochs, {cost.minutes:.1f} minutes; '
      f'{show.best_words(opened, trials)}'
    )
  return '\n'.join(lines) + '\n'


def _crew(workers: int) -> str:
  """How many workers there are, and how many cores each has, where it has not all: '2, 1 core
  each'.
  """
  sizes = sorted({len(share) for share in supervisor.shares(workers)})
  if sizes == [0]:
    return str(workers)
  least = '' if len(sizes) == 1 else f'{sizes[0]} or '
  few = len(processor.cores())
  shared = f', of which there are {few}' if few < workers else ''
  return f'{workers}, {least}{processor.counted(sizes[-1])} each{shared}'
