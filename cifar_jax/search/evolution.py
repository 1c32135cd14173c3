"""Regularized evolution of genomes (Real et al., 2019), asynchronously: who is tried next.

A new individual is a function of the study's seed, its own number and those that came before it, so
nothing but the study is kept. Of the last ones that were measured, a few take part in a tournament,
whose winner is the parent; the oldest die, however good they are, so that what is passed on has
proved itself more than once. DEAP and pymoo would not serve: both breed whole generations in
memory, wait for each to end, and let the oldest live.

A study has stages, each with its own length of training. Accuracies of different stages are not
compared: the best of a stage are trained anew, longer, and are the first ones of the next.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cifar_jax.search import genome as genomes
from cifar_jax.search.draws import Random, random_genome
from cifar_jax.search.genome import Genome
from cifar_jax.search.size import NO_LIMITS, Limits, Size
from cifar_jax.search.variation import crossed, mutated
from cifar_jax.utils.errors import UserError

FIRST, VARIED, DRAWN, PROMOTED = 'first', 'varied', 'drawn', 'promoted'
MUTATED, CROSSED = 'mutated', 'crossed'
_MOST_DRAWS = 200
_VARIED = 0.5  # of the founders, so many vary a first one, as far as there is any; the rest are new
_MORE_CHANGES = 2, 0.3  # a child has one change, and each of two more with this probability
_STAGE = re.compile(r'([0-9]*\.?[0-9]+)(?::([0-9]{1,6}))?', re.ASCII)


class Stage(NamedTuple):
  """How long networks are trained, in epochs, and how many of them; None: to the study's end."""

  epochs: float
  trials: int | None


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides about all individuals of a study.

  Attributes:
    seed: Of all that is drawn.
    stages: One or more, the first one's individuals the first ones of the study.
    first: The genomes of the very first individuals; within `limits`.
    population: The individuals that live at a time.
    tournament: Those of them among which the best becomes a parent.
    crossover: The probability that a child has two parents.
    limits: Larger networks are drawn anew.
    at_random: Whether each genome is drawn anew instead, as control; stages stay.
  """

  seed: int
  stages: tuple[Stage, ...]
  first: tuple[Genome, ...] = ()
  population: int = 16
  tournament: int = 4
  crossover: float = 0.3
  limits: Limits = NO_LIMITS
  at_random: bool = False

  def __post_init__(self) -> None:
    """Raises UserError, naming the flag, where the numbers do not go together."""
    if self.seed < 0:
      raise UserError(f'--sampler_seed={self.seed} is negative; use 0 or more')
    if self.population < 2:
      raise UserError(f'--population={self.population}: there must be at least 2')
    if not 1 <= self.tournament <= self.population:
      raise UserError(
        f'--tournament={self.tournament} must be from 1 to --population={self.population}'
      )
    if not 0 <= self.crossover <= 1:
      raise UserError(f'--crossover={self.crossover:g} must be from 0 to 1')


@dataclasses.dataclass(frozen=True)
class Individual:
  """A genome that is tried.

  Attributes:
    number: Of its trial.
    parents: The numbers of those it comes from; of one that was trained longer, that one.
    generation: 0 for those without parents, else one more than the parents' largest.
    stage: The index of its stage.
    origin: 'first'; 'varied' from a first one, whatever that one is worth; 'drawn' at random;
      'mutated' or 'crossed' from one or two that won a tournament; 'promoted'.
    size: Of its network.
    changes: What mutation changed, for people.
    redrawn: The genomes that were drawn before it, and too large or there already.
    score: What it was measured to be worth; None before that, and where its training failed.
  """

  number: int
  genome: Genome
  parents: tuple[int, ...]
  generation: int
  stage: int
  origin: str
  size: Size
  changes: tuple[str, ...] = ()
  redrawn: int = 0
  score: float | None = None


def to_json(individual: Individual) -> dict[str, Any]:
  """What is stored of an individual beside its number and score."""
  content = dataclasses.asdict(individual)
  del content['number'], content['score']
  return {**content, 'size': individual.size._asdict()}


def of_json(number: int, content: Mapping[str, Any], score: float | None) -> Individual:
  """The individual that `to_json` made this of.

  Raises:
    UserError: It is of none.
  """
  try:
    made = {
      'genome': genomes.of_json(content['genome']),
      'parents': tuple(content['parents']),
      'changes': tuple(content['changes']),
      'size': Size(**content['size']),
    }
    return Individual(number=number, score=score, **{**content, **made})
  except (KeyError, TypeError) as error:
    raise UserError(f'trial {number} is of no evolution ({error})') from None


def parse_stages(text: str) -> tuple[Stage, ...]:
  """Reads '0.5:24,2:12,6', in which the last number of trials may be missing.

  Raises:
    UserError: It is something else.
  """
  stages = []
  parts = text.split(',')
  for place, part in enumerate(parts, start=1):
    match = _STAGE.fullmatch(part.strip())
    trials = int(match[2]) if match and match[2] else None
    if not match or not float(match[1]) or trials == 0 or (trials is None and place < len(parts)):
      raise UserError(
        f'--stages={text}: write EPOCHS:TRIALS for each stage, with commas between, as in '
        '0.5:24,2:12,6; the last may go on to the end of the study'
      )
    stages.append(Stage(float(match[1]), trials))
  return tuple(stages)


def default_stages(epochs: float, trials: int | None, population: int) -> tuple[Stage, ...]:
  """An eighth of the epochs for half of the trials, a third for three tenths, all for the rest;
  where the number of trials is not known, for two populations, one, and the rest.
  """
  counts = (2 * population, population) if trials is None else (trials // 2, round(0.3 * trials))
  lengths = [max(0.5, round(2 * epochs / part) / 2) for part in (8, 3)]
  shorter = [
    Stage(length, count)
    for length, count in zip(lengths, counts, strict=True)
    if length < epochs and count
  ]
  return (*shorter, Stage(epochs, None))


def stage_of(stages: Sequence[Stage], number: int) -> tuple[int, int]:
  """The stage of an individual by its number, and which one of the stage it is, both from 0."""
  for index, stage in enumerate(stages):
    if stage.trials is None or number < stage.trials or index == len(stages) - 1:
      return index, number
    number -= stage.trials
  raise ValueError('there must be a stage')


def survivors(settings: Settings, stage: int) -> int:
  """How many of the stage before are the first ones of a stage: half of the population, and of the
  stage at most.
  """
  trials = settings.stages[stage].trials
  half = settings.population // 2 if trials is None else min(settings.population, trials) // 2
  return max(1, half) if stage else 0


def next_individual(
  settings: Settings,
  number: int,
  others: Iterable[Individual],
  image_shape: Sequence[int],
  size_of: Callable[[Genome], Size],
) -> Individual:
  """Who is tried under a number.

  Args:
    settings: Those of the study.
    number: Of the trial.
    others: The individuals of the study, those that are still trained included; later numbers do
      not count.
    image_shape: Of the images, [H, W, C].
    size_of: Genome -> size of its network.

  Raises:
    UserError: All that was drawn is larger than the limits allow.
  """
  random = np.random.default_rng((settings.seed, number))
  others = sorted((x for x in others if x.number < number), key=lambda x: x.number)
  stage, place = stage_of(settings.stages, number)
  if not stage and place < len(settings.first):
    genome = settings.first[place]
    return Individual(number, genome, (), 0, stage, FIRST, size_of(genome))
  if place < survivors(settings, stage):
    best = promoted(others, stage, place)
    if best is not None:
      parents = (best.number,)
      return Individual(number, best.genome, parents, best.generation, stage, PROMOTED, best.size)
  there = {x.genome for x in others if x.stage == stage}
  founding = not stage and place < settings.population
  alive = [] if settings.at_random or founding else living(settings, others, stage)
  for redrawn in range(_MOST_DRAWS):
    drawn = (
      _child(settings, random, alive, image_shape)
      if alive
      else _founder(settings, random, image_shape)
    )
    if drawn.genome in there:
      continue
    size = size_of(drawn.genome)
    if settings.limits.allows(size):
      return Individual(number, stage=stage, size=size, redrawn=redrawn, **drawn._asdict())
  raise UserError(
    f'none of {_MOST_DRAWS} networks was new and within '
    f'--max_parameters={settings.limits.parameters} and --max_macs={settings.limits.macs}; '
    'raise them'
  )


def living(settings: Settings, others: Sequence[Individual], stage: int) -> list[Individual]:
  """The youngest that were measured, by ascending number; those of the stage before while the
  stage has none.
  """
  for index in range(stage, -1, -1):
    measured = [x for x in others if x.stage == index and x.score is not None]
    if measured:
      return measured[-settings.population :]
  return []


def tournament(random: Random, alive: Sequence[Individual], size: int) -> Individual:
  """The best of so many, chosen at random without replacement; of equals the older one."""
  chosen = random.choice(len(alive), min(size, len(alive)), replace=False)
  return max((alive[index] for index in chosen), key=_rank)


def promoted(others: Sequence[Individual], stage: int, place: int) -> Individual | None:
  """Who is the one at a place of a stage: the best of the stage before that is not in this one yet,
  so many places further as numbers before it are not known yet.
  """
  ranked = sorted(
    (x for x in others if x.stage == stage - 1 and x.score is not None), key=_rank, reverse=True
  )
  there = [x for x in others if x.stage == stage and x.origin == PROMOTED]
  waiting = [x for x in ranked if x.genome not in {other.genome for other in there}]
  index = place - len(there)
  return waiting[index] if index < len(waiting) else None


def best_of(individuals: Iterable[Individual]) -> Individual | None:
  """The best of the last stage in which any was measured."""
  measured = [x for x in individuals if x.score is not None]
  last = max((x.stage for x in measured), default=0)
  return max((x for x in measured if x.stage == last), key=_rank, default=None)


def _rank(individual: Individual) -> tuple[float, int]:
  assert individual.score is not None
  return individual.score, -individual.number


class _Drawn(NamedTuple):
  genome: Genome
  parents: tuple[int, ...]
  generation: int
  origin: str
  changes: tuple[str, ...]


def _founder(settings: Settings, random: Random, image_shape: Sequence[int]) -> _Drawn:
  """A genome without a measured parent: a first one varied, or one at random."""
  if settings.first and not settings.at_random and random.random() < _VARIED:
    parent = int(random.integers(len(settings.first)))
    genome, changes = _changed(random, settings.first[parent], image_shape)
    return _Drawn(genome, (parent,), 1, VARIED, changes)
  return _Drawn(random_genome(random, image_shape), (), 0, DRAWN, ())


def _child(
  settings: Settings, random: Random, alive: Sequence[Individual], image_shape: Sequence[int]
) -> _Drawn:
  """A genome of one or two parents."""
  parents = [tournament(random, alive, settings.tournament)]
  if random.random() < settings.crossover:
    other = tournament(random, alive, settings.tournament)
    parents += [other] if other.number != parents[0].number else []
  genome = parents[0].genome
  if len(parents) == 2:
    genome = crossed(random, genome, parents[1].genome, image_shape)
  genome, changes = _changed(random, genome, image_shape)
  return _Drawn(
    genome,
    tuple(parent.number for parent in parents),
    1 + max(parent.generation for parent in parents),
    CROSSED if len(parents) == 2 else MUTATED,
    changes,
  )


def _changed(
  random: Random, genome: Genome, image_shape: Sequence[int]
) -> tuple[Genome, tuple[str, ...]]:
  """A genome with one to three changes, and what they are."""
  changes = []
  for _ in range(1 + random.binomial(*_MORE_CHANGES)):
    genome, change = mutated(random, genome, image_shape)
    changes.append(change)
  return genome, tuple(changes)
