"""The proposer of an evolution: what its trials store, and the configs of its individuals."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable
from typing import Any

import optuna
from ml_collections import ConfigDict
from optuna.trial import FrozenTrial, TrialState

from cifar_jax import data
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.search import evolution
from cifar_jax.search.attributes import BASELINE, IN_FULL, INDIVIDUAL, SHOWN, STAGE
from cifar_jax.search.evolution import Individual, Settings, Stage
from cifar_jax.search.genome import Genome, of_config, to_config
from cifar_jax.search.size import Size, size_of
from cifar_jax.search.study import run_of
from cifar_jax.trainer.recipe import make_plan
from cifar_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataFacts:
  """What an evolution has to know of the data.

  Attributes:
    image_shape: [H, W, C].
    num_classes: The number of logits.
    examples: The number of training images.
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  examples: int

  def size_of(self, genome: Genome) -> Size:
    """The size of a genome's network for these data."""
    return size_of(genome, self.image_shape, self.num_classes)


def facts_of(config: ConfigDict) -> DataFacts:
  """Reads the data of a config."""
  splits = data.load_splits(config)
  return DataFacts(splits.image_shape, splits.num_classes, len(splits.train))


def check_base(config: ConfigDict) -> None:
  """Raises UserError where a config says something of one network, which others have not."""
  for option, value in (
    ('optimizer.groups', config.optimizer.groups),
    ('whitening.layer', config.whitening.layer),
    ('init_from', config.init_from),
  ):
    if value:
      raise UserError(
        f'--config.{option} names parts of one network, and evolve tries others; leave it out, or '
        'start from another --config, such as configs/cnn_adv.py'
      )


def full_length(config: ConfigDict, facts: DataFacts) -> float:
  """How many epochs a config trains, perhaps with a fraction."""
  plan = make_plan(config, facts.examples)
  return float(plan.total_steps / plan.steps_per_epoch)


def with_length(config: ConfigDict, epochs: float, facts: DataFacts) -> ConfigDict:
  """A config that trains so many epochs; of a fraction of one, the network sees that part of the
  images, each once.
  """
  config = ConfigDict(config).unlock()
  config.epochs, config.max_steps = math.ceil(epochs), 0
  if epochs % 1:
    per_epoch = make_plan(config, facts.examples).steps_per_epoch
    config.max_steps = max(1, round(epochs * per_epoch))
  return config


def individuals(trials: Iterable[FrozenTrial]) -> list[Individual]:
  """Those of the trials of a study that have been chosen; scores are those of completed ones."""
  return [
    evolution.of_json(
      trial.number,
      trial.user_attrs[INDIVIDUAL],
      trial.values[0] if trial.state is TrialState.COMPLETE else None,
    )
    for trial in trials
    if INDIVIDUAL in trial.user_attrs
  ]


@dataclasses.dataclass(frozen=True, eq=False)
class Breeder:
  """Chooses parents for each trial among those that were measured, and makes a child.

  Attributes:
    base: The config of everything but the networks and their optimizers.
    settings: Those of the study.
    folder: Of the study.
    inherits: Whether weights of the first parent are taken where names and shapes agree.
    facts: Of the data.
  """

  base: ConfigDict
  settings: Settings
  folder: pathlib.Path
  inherits: bool
  facts: DataFacts

  def propose(self, trial: optuna.Trial, study: optuna.Study) -> ConfigDict:
    """The config of a trial; who it is, and whose child, becomes an attribute of it.

    Raises:
      UserError: no network is within the limits.
    """
    stored = trial.user_attrs.get(INDIVIDUAL)
    if stored is not None:
      individual = evolution.of_json(trial.number, stored, None)
    else:
      others = individuals(study.get_trials(deepcopy=False))
      shape = self.facts.image_shape
      individual = evolution.next_individual(
        self.settings, trial.number, others, shape, self.facts.size_of
      )
      for name, value in self._attributes_of(individual).items():
        trial.set_user_attr(name, value)
    return self.config_of(individual)

  def config_of(self, individual: Individual) -> ConfigDict:
    """How an individual is trained."""
    stage: Stage = self.settings.stages[individual.stage]
    config = with_length(to_config(self.base, individual.genome), stage.epochs, self.facts)
    # Who is promoted is trained anew: it is its own parent. That of who varies a first one may
    # still be in training.
    if self.inherits and individual.origin in (evolution.MUTATED, evolution.CROSSED):
      parent = run_of(self.folder, individual.parents[0], self.base.seed)
      with Checkpoints(parent, read_only=True) as checkpoints:
        if checkpoints.best() is not None:
          config.init_from, config.init_matching = str(parent), True
    return config.lock()

  def _attributes_of(self, individual: Individual) -> dict[str, Any]:
    """What is stored of a trial; who it is comes last, when all else is there."""
    base = self.base
    in_full = {name: base[name] for name in ('epochs', 'max_steps', 'init_from', 'init_matching')}
    is_base = individual.origin == evolution.FIRST and individual.genome == self._own
    return {
      STAGE: individual.stage,
      SHOWN: shown(individual),
      IN_FULL: in_full,
      **({BASELINE: True} if is_base else {}),
      INDIVIDUAL: evolution.to_json(individual),
    }

  @functools.cached_property
  def _own(self) -> Genome | None:
    """The genome of the base."""
    try:
      return of_config(self.base)
    except UserError:
      return None


def shown(individual: Individual) -> dict[str, Any]:
  """What a table of trials says of an individual: first its network, since lines are cut off."""
  genome, rule = individual.genome, individual.genome.optimizer
  blocks = ' '.join(
    f'{len(block.convolutions)}x{block.width}{"" if block.pool == "none" else "P"}'
    for block in genome.blocks
  )
  found = {
    'origin': individual.origin,
    'parents': ' '.join(map(str, individual.parents)),
    'blocks': blocks,
    'dense': ' '.join(str(layer.units) for layer in genome.dense),
    'parameters': individual.size.parameters,
    'activation': genome.activation,
    'optimizer': rule.name,
    'learning_rate': rule.learning_rate,
    'changes': '; '.join(individual.changes),
    'weight_decay': rule.weight_decay,
    'macs': individual.size.macs,
    'generation': individual.generation,
    'stage': individual.stage,
    'redrawn': individual.redrawn,
  }
  return {name: value for name, value in found.items() if value != ''}
