"""Who is tried next: tournaments, ageing, stages and limits, by hand and by known facts."""

import collections
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.search import evolution
from cifar_jax.search.evolution import Individual, Settings, Stage
from cifar_jax.search.genome import Genome
from cifar_jax.search.size import Limits, Size
from cifar_jax.utils.errors import UserError
from tests.helpers.genomes import ADV

CIFAR = (32, 32, 3)
ONE_STAGE = (Stage(1, None),)
DEEPER = dataclasses.replace(ADV, blocks=(*ADV.blocks, ADV.blocks[-1]))


def depth_and_width(genome: Genome) -> Size:
  """A size that needs no tracing."""
  return Size(sum(block.width for block in genome.blocks), len(genome.blocks))


def individual(number: int, score: float | None, stage: int = 0, **changes) -> Individual:
  rule = dataclasses.replace(ADV.optimizer, learning_rate=1e-4 * (1 + number))
  genome = dataclasses.replace(ADV, optimizer=rule)
  return dataclasses.replace(
    Individual(number, genome, (), 0, stage, evolution.DRAWN, Size(1, 1), score=score), **changes
  )


def born(of: Settings, number: int, others) -> Individual:
  return evolution.next_individual(of, number, others, CIFAR, depth_and_width)


def evolve(of: Settings, count: int, score=lambda x: x.size.parameters / 1000) -> list[Individual]:
  """A whole evolution by one worker, with scores from a formula."""
  others: list[Individual] = []
  for number in range(count):
    child = born(of, number, others)
    others.append(dataclasses.replace(child, score=score(child)))
  return others


def test_the_best_of_n_wins_with_probability_k_in_n():
  """It is among k of n, chosen without replacement, with that probability, and then it wins. The
  one at rank r wins where it is among them and none of the r - 1 better ones is.
  """
  n, k, draws = 10, 4, 4000
  alive = [individual(number, score=0.1 * number) for number in range(n)]
  random = np.random.default_rng(0)
  wins = collections.Counter(evolution.tournament(random, alive, k).number for _ in range(draws))
  for rank in range(1, n + 1):
    expected = math.comb(n - rank, k - 1) / math.comb(n, k)
    deviation = (expected * (1 - expected) / draws) ** 0.5
    assert abs(wins[n - rank] / draws - expected) <= 4 * deviation, rank
  assert math.comb(n - 1, k - 1) / math.comb(n, k) == k / n


def test_a_tournament_of_all_and_of_one():
  alive = [individual(0, 0.5), individual(1, 0.7), individual(2, 0.7), individual(3, 0.1)]
  random = np.random.default_rng(0)
  assert {evolution.tournament(random, alive, 9).number for _ in range(50)} == {1}
  winners = collections.Counter(evolution.tournament(random, alive, 1).number for _ in range(2000))
  assert all(count == pytest.approx(500, abs=4 * 375**0.5) for count in winners.values())


def test_the_oldest_dies_however_good_it_is():
  of = Settings(0, ONE_STAGE, population=3, tournament=2)
  others = [individual(0, 0.99), *(individual(number, 0.1) for number in range(1, 4))]
  assert [x.number for x in evolution.living(of, others, 0)] == [1, 2, 3]
  for number in range(4, 40):
    assert 0 not in born(of, number, others).parents


def test_those_that_failed_or_are_still_trained_are_nobodys_parents():
  of = Settings(0, ONE_STAGE, population=3, tournament=1)
  others = [individual(0, 0.5), individual(1, None), individual(2, 0.6), individual(3, None)]
  assert [x.number for x in evolution.living(of, others, 0)] == [0, 2]
  parents = {parent for number in range(4, 40) for parent in born(of, number, others).parents}
  assert parents == {0, 2}


def test_the_first_ones_then_founders_then_children():
  of = Settings(0, ONE_STAGE, first=(ADV,), population=4, tournament=2, crossover=0.5)
  found = evolve(of, 40)
  assert found[0].genome == ADV
  assert found[0].origin == 'first'
  assert {x.origin for x in found[1:4]} <= {'varied', 'drawn'}
  assert {x.origin for x in found[4:]} == {'mutated', 'crossed'}
  for child in found[4:]:
    assert all(0 < child.number - parent <= 4 for parent in child.parents)
    assert child.generation == 1 + max(found[parent].generation for parent in child.parents)
    assert len(child.parents) == (2 if child.origin == 'crossed' else 1)
    assert 1 <= len(child.changes) <= 3


def test_about_half_of_the_founders_vary_a_first_one_though_none_is_measured():
  of = Settings(0, ONE_STAGE, first=(ADV, DEEPER), population=202, tournament=2)
  others: list[Individual] = []
  for number in range(202):
    others.append(born(of, number, others))
  varied = [x for x in others if x.origin == 'varied']
  # 200 throws of a coin: 100, and six standard deviations of 7.1.
  assert 58 < len(varied) < 142
  assert {x.parents for x in varied} == {(0,), (1,)}
  for x in varied:
    assert x.generation == 1
    assert 1 <= len(x.changes) <= 3
    assert x.genome != of.first[x.parents[0]]
  assert all(x.origin == 'drawn' and not x.parents for x in others[2:] if x not in varied)


@pytest.mark.parametrize('options', [{'first': (ADV,), 'at_random': True}, {'first': ()}])
def test_nothing_is_varied_in_the_control_or_where_nothing_was_given(options):
  of = Settings(0, ONE_STAGE, population=30, tournament=2, **options)
  found = evolve(of, 30)[len(options['first']) :]
  assert {x.origin for x in found} == {'drawn'}


def test_nobody_to_choose_from_yet_is_a_random_one():
  of = Settings(0, ONE_STAGE, population=2, tournament=2)
  assert born(of, 9, [individual(0, None)]).origin == 'drawn'


def test_selection_finds_more_than_drawing_does():
  """Width is the score: evolution climbs, drawing does not; the same first ones, the same count."""
  of = Settings(0, ONE_STAGE, population=8, tournament=4)
  evolved = evolve(of, 120)
  drawn = evolve(dataclasses.replace(of, at_random=True), 120)
  assert [x.genome for x in drawn[:8]] == [x.genome for x in evolved[:8]]
  assert {x.origin for x in drawn} == {'drawn'}
  best, control = evolution.best_of(evolved), evolution.best_of(drawn)
  assert best.score > 1.3 * control.score
  late = [np.mean([x.score for x in found[-30:]]) for found in (evolved, drawn)]
  assert late[0] > 1.5 * late[1]


def test_the_same_study_is_the_same_evolution():
  of = Settings(5, ONE_STAGE, population=4, tournament=2)
  assert evolve(of, 30) == evolve(of, 30)
  assert evolve(of, 30) != evolve(dataclasses.replace(of, seed=6), 30)
  # What comes later, and in which order it is given, makes no difference.
  others = evolve(of, 30)
  assert born(of, 20, others[::-1]) == dataclasses.replace(others[20], score=None)


def test_larger_networks_are_drawn_anew_and_counted():
  of = Settings(0, ONE_STAGE, population=4, tournament=2, limits=Limits(parameters=150, macs=3))
  found = evolve(of, 60)
  assert all(x.size.parameters <= 150 and x.size.macs <= 3 for x in found)
  assert all(x.size == depth_and_width(x.genome) for x in found)
  assert sum(x.redrawn for x in found) > 0
  free = evolve(dataclasses.replace(of, limits=Limits()), 60)
  assert max(x.size.parameters for x in free) > 150
  with pytest.raises(UserError, match=r'within --max_parameters=4 and --max_macs=0; raise them'):
    born(dataclasses.replace(of, limits=Limits(parameters=4)), 0, [])


def test_limits_are_inclusive():
  assert Limits(10, 5).allows(Size(10, 5))
  assert not Limits(10, 5).allows(Size(11, 5))
  assert not Limits(10, 5).allows(Size(10, 6))
  assert Limits(0, 0).allows(Size(10**9, 10**12))


def test_no_genome_is_trained_twice_in_a_stage():
  of = Settings(0, ONE_STAGE, population=2, tournament=1)
  found = evolve(of, 80)
  assert len({x.genome for x in found}) == 80


STAGES = (Stage(0.5, 12), Stage(2, 6), Stage(8, None))


def test_stages_by_number():
  assert [evolution.stage_of(STAGES, number) for number in (0, 11, 12, 17, 18, 99)] == [
    *((0, 0), (0, 11), (1, 0), (1, 5), (2, 0), (2, 81))
  ]
  bounded = (Stage(1, 2), Stage(2, 2))
  assert evolution.stage_of(bounded, 7) == (1, 5)  # a budget may go on


def test_the_best_of_a_stage_are_trained_longer_and_are_the_parents_of_the_next():
  of = Settings(0, STAGES, population=8, tournament=2)
  found = evolve(of, 30)
  first, second, third = ([x for x in found if x.stage == stage] for stage in range(3))
  ranked = sorted(first, key=lambda x: (-x.score, x.number))
  # Half of the stage of 6, then half of the population of 8.
  assert [x.origin for x in second] == ['promoted'] * 3 + [x.origin for x in second[3:]]
  assert [x.parents for x in second[:3]] == [(x.number,) for x in ranked[:3]]
  assert [x.genome for x in second[:3]] == [x.genome for x in ranked[:3]]
  assert [x.generation for x in second[:3]] == [x.generation for x in ranked[:3]]
  assert [x.origin == 'promoted' for x in third] == [True] * 4 + [False] * 8
  for child in (*second[3:], *third[4:]):
    assert all(found[parent].stage == child.stage for parent in child.parents)


def test_two_workers_promote_different_ones():
  """The second asks before the first has told, or after it; and after one that ended late."""
  of = Settings(0, STAGES, population=8, tournament=2)
  others = [individual(number, 0.01 * number) for number in range(11)]
  late = individual(11, None)
  first = born(of, 12, [*others, late])
  assert first.parents == (10,)
  assert born(of, 13, [*others, late]).parents == (9,)
  assert born(of, 13, [*others, late, first]).parents == (9,)
  assert born(of, 13, [*others, dataclasses.replace(late, score=0.9), first]).parents == (11,)


def test_a_stage_of_which_none_was_measured_has_the_parents_of_the_one_before():
  of = Settings(0, STAGES, population=8, tournament=2)
  others = [individual(number, 0.01 * number) for number in range(12)]
  others += [individual(number, None, stage=1) for number in range(12, 15)]
  child = born(of, 15, others)
  assert child.origin in ('mutated', 'crossed')
  assert all(4 <= parent < 12 for parent in child.parents)


def test_the_best_is_of_the_last_stage_that_was_measured():
  others = [individual(0, 0.9), individual(1, 0.3, stage=1), individual(2, 0.4, stage=1)]
  assert evolution.best_of([*others, individual(3, None, stage=2)]).number == 2
  assert evolution.best_of([]) is None


def test_reading_stages():
  assert evolution.parse_stages('0.5:24, 2:12,6') == (Stage(0.5, 24), Stage(2, 12), Stage(6, None))
  assert evolution.parse_stages('3:4') == (Stage(3, 4),)
  for text in ('', '2,6', '0:4,1', 'x', '1:0', '1:2:3', '-1', '1:2,'):
    with pytest.raises(UserError, match='--stages='):
      evolution.parse_stages(text)


def test_stages_by_default():
  assert evolution.default_stages(20, 40, 16) == (Stage(2.5, 20), Stage(6.5, 12), Stage(20, None))
  assert evolution.default_stages(20, None, 16) == (Stage(2.5, 32), Stage(6.5, 16), Stage(20, None))
  assert evolution.default_stages(0.5, 10, 4) == (Stage(0.5, None),)
  assert evolution.default_stages(2, 1, 4) == (Stage(2, None),)


@pytest.mark.parametrize(
  ('options', 'flag'),
  [
    ({'population': 1, 'tournament': 1}, '--population=1'),
    ({'population': 4, 'tournament': 5}, '--tournament=5'),
    ({'tournament': 0}, '--tournament=0'),
    ({'crossover': 1.5}, '--crossover=1.5'),
    ({'seed': -1}, '--sampler_seed=-1'),
  ],
)
def test_wrong_settings(options, flag):
  with pytest.raises(UserError, match=flag):
    Settings(**{'seed': 0, 'stages': ONE_STAGE, **options})
  with pytest.raises(UserError, match='--max_macs=-1'):
    Limits(macs=-1)


@given(st.integers(0, 1000), st.integers(0, 60))
@settings(max_examples=20, deadline=None)
def test_an_individual_is_the_same_after_storage(seed, number):
  of = Settings(seed, STAGES, first=(ADV,), population=4, tournament=2)
  others = evolve(of, number % 25)
  child = born(of, len(others), others)
  content = json.loads(json.dumps(evolution.to_json(child)))
  assert evolution.of_json(child.number, content, None) == child


def test_an_attribute_of_something_else_is_said():
  with pytest.raises(UserError, match='trial 3 is of no evolution'):
    evolution.of_json(3, {'reason': 'lost'}, None)
