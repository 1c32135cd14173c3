"""An evolution from its command line to what it leaves."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.search import breeder, evolution, study
from cifar_jax.search import run as runs
from cifar_jax.search.breeder import Breeder, DataFacts
from cifar_jax.search.evolution import Settings, Stage
from cifar_jax.search.genome import Genome, fitted, of_config
from cifar_jax.search.size import Limits
from cifar_jax.utils.errors import UserError

_OBJECTIVE = 'val_accuracy'
# Flags that cannot change within a study, beside --stages.
_SETTINGS = (
  *('first', 'population', 'tournament', 'crossover', 'max_parameters', 'max_macs'),
  *('inherit', 'random', 'sampler_seed'),
)


def run(arguments: argparse.Namespace) -> None:
  """Begins an evolution or goes on with it, works for it, or shows it.

  Args:
    arguments: What `commands.evolve` reads.

  Raises:
    UserError: a mistake of the user.
  """
  arguments.space = arguments.config
  folder = pathlib.Path(arguments.folder or _default_folder(arguments))
  arguments.folder = folder
  if arguments.show:
    runs.show_state(arguments)
    return
  if arguments.objectives != _OBJECTIVE:
    raise UserError(
      f'--objectives={arguments.objectives}: an evolution selects by {_OBJECTIVE} alone; '
      '--max_macs and --max_parameters bound what a network costs'
    )
  made, notes = make_breeder(arguments, folder)
  if not arguments.as_worker:
    print('\n'.join(notes), flush=True)
  runs.run(arguments, 'evolve', made)


def make_breeder(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple[Breeder, list[str]]:
  """The proposer that a command line asks for, and what to say of it; `arguments.settings` becomes
  what the study keeps of that.

  Raises:
    UserError: a mistake in the config or the flags.
  """
  base = configs.load(arguments.config, arguments.overrides)
  breeder.check_base(base)
  base = study.closed_to_test(base)
  configs.validate(base)
  facts = breeder.facts_of(base)
  stages = _stages(arguments, base, facts, folder)
  for stage in stages:
    configs.validate(breeder.with_length(base, stage.epochs, facts).lock())
  limits = Limits(arguments.max_parameters, arguments.max_macs)
  first, notes = first_genomes(arguments.config, arguments.first, base, facts, limits)
  settings = Settings(
    seed=arguments.sampler_seed,
    stages=stages,
    first=first,
    population=arguments.population,
    tournament=arguments.tournament,
    crossover=arguments.crossover,
    limits=limits,
    at_random=arguments.random,
  )
  arguments.settings = {name: getattr(arguments, name) for name in _SETTINGS}
  arguments.settings['stages'] = _text_of(stages)
  lengths = [
    f'{"all others" if stage.trials is None else stage.trials} for {stage.epochs:g}'
    for stage in stages
  ]
  ways = (
    'drawn at random'
    if arguments.random
    else (f'{settings.population} live, the best of {settings.tournament} is a parent')
  )
  notes += [
    f'limits      {limits.parameters:,} parameters, {limits.macs:,} multiply-adds (0: none)',
    f'stages      {", then ".join(lengths)} epochs',
    f'networks    {ways}{"; weights are inherited" if arguments.inherit else ""}',
  ]
  return Breeder(base, settings, folder, arguments.inherit, facts), notes


def first_genomes(
  own: str, others: str, base: ConfigDict, facts: DataFacts, limits: Limits
) -> tuple[tuple[Genome, ...], list[str]]:
  """The genomes of some configs, and a line on each.

  Args:
    own: The file of `base`; it is left out where it is no genome's.
    others: Files, with commas between.

  Raises:
    UserError: one of the others is not there, or is no genome's.
  """
  found: list[Genome] = []
  notes = []
  for path in dict.fromkeys([own, *filter(None, map(str.strip, others.split(',')))]):
    name = configs.name_of(path)
    try:
      genome = of_config(base if path == own else configs.load(path, option=''))
    except UserError as error:
      if path != own:
        raise UserError(f'--first: {name}: {error}') from None
      notes.append(f'first       without {name}: {error}')
      continue
    if fitted(genome, facts.image_shape) != genome:
      notes.append(f'first       without {name}, for which the images are too small')
      continue
    size = facts.size_of(genome)
    words = f'{size.parameters:,} parameters, {size.macs:,} multiply-adds'
    if not limits.allows(size):
      notes.append(f'first       without {name}, which is above the limits: {words}')
    elif genome not in found:
      found.append(genome)
      notes.append(f'first       {name}, {words}')
  return tuple(found), notes


def _stages(
  arguments: argparse.Namespace, base: ConfigDict, facts: DataFacts, folder: pathlib.Path
) -> tuple[Stage, ...]:
  """Those of the command line, else those with which the study began, else the default."""
  text = arguments.stages
  if not text and (folder / study.STUDY_NAME).exists():
    text = str(study.read_plan(folder).settings.get('stages', ''))
  if text:
    return evolution.parse_stages(text)
  epochs = breeder.full_length(base, facts)
  trials = runs.budget_of(arguments).trials
  return evolution.default_stages(epochs, trials, arguments.population)


def _text_of(stages: Sequence[Stage]) -> str:
  """What `evolution.parse_stages` reads as these stages."""
  parts: list[Any] = [
    f'{stage.epochs:g}' + ('' if stage.trials is None else f':{stage.trials}') for stage in stages
  ]
  return ','.join(parts)


def _default_folder(arguments: argparse.Namespace) -> str:
  end = 'random_networks' if arguments.random else 'evolution'
  return f'runs/{configs.name_of(arguments.config)}_{end}'
