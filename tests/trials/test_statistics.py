"""Statistics against SciPy, statsmodels, published analyses, enumeration and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import multitest, weightstats
from statsmodels.stats import power as statsmodels_power

from cifar_jax.trials import statistics

# Student's "The probable error of a mean" (1908): hours of sleep gained by two drugs, ten patients.
SLEEP = (
  dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])),
  dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])),
)
# Darwin's maize: crossed less self-fertilized, eighths of an inch; Fisher counted the signs of all
# 2 ** 15 arrangements ("The design of experiments", 1935, section 21).
MAIZE = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


def keyed(values, first: int = 0) -> dict[int, float]:
  return {first + index: float(value) for index, value in enumerate(values)}


def test_student_and_welch_on_students_own_numbers() -> None:
  """As R's documentation of t.test prints them."""
  found = statistics.compare(*SLEEP)
  assert found.paired
  assert found.n == (10, 10)
  assert found.p == pytest.approx(0.002833, abs=5e-7)
  assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
  apart = statistics.compare(SLEEP[0], keyed(SLEEP[1].values(), first=10))
  assert not apart.paired
  assert apart.p == pytest.approx(0.07939, abs=5e-6)
  assert (apart.low, apart.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
  assert (found.mean, apart.mean) == pytest.approx((-1.58, -1.58))


def test_fishers_count_of_all_arrangements() -> None:
  found = statistics.compare(keyed(MAIZE), keyed([0] * 15))
  assert found.exact
  assert found.p_permutation == 2 * 863 / 2**15


def test_sides_are_exchanged_in_all_ways() -> None:
  """Against the enumeration itself."""
  first, second = [0.71, 0.72, 0.74], [0.70, 0.705, 0.715, 0.69]
  every, observed = np.array(first + second), np.mean(first) - np.mean(second)
  differences = []
  for chosen in itertools.combinations(range(7), 3):
    side = np.isin(np.arange(7), chosen)
    differences.append(every[side].mean() - every[~side].mean())
  above = np.mean(np.array(differences) >= observed - 1e-12)
  found = statistics.compare(keyed(first), keyed(second, first=9))
  assert found.exact
  assert found.p_permutation == pytest.approx(2 * above)
  assert found.smallest_p == 2 / 35
  assert found.n == (3, 4)


def test_a_sample_of_the_arrangements_where_they_are_many() -> None:
  random = np.random.default_rng(1)
  first, second = random.normal(0.0, 1.0, 30), random.normal(0.6, 1.0, 30)
  found = statistics.compare(keyed(first), keyed(second))
  assert not found.exact
  assert found.p_permutation == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.005)
  assert statistics.compare(keyed(first), keyed(second)) == found  # no chance in it


@pytest.mark.parametrize('sizes', [(2, 2), (5, 5), (3, 8)])
def test_intervals_and_tests_are_those_of_statsmodels(sizes) -> None:
  random = np.random.default_rng(sizes)
  first, second = (random.normal(0.7, 0.01, size) for size in sizes)
  described = weightstats.DescrStatsW(first)
  found = statistics.summarize(first)
  assert (found.n, found.mean) == (sizes[0], pytest.approx(described.mean))
  assert found.sd == pytest.approx(np.std(first, ddof=1))
  assert (found.low, found.high) == pytest.approx(described.tconfint_mean(0.05))
  both = weightstats.CompareMeans(described, weightstats.DescrStatsW(second))
  apart = statistics.compare(keyed(first), keyed(second, first=99))
  assert apart.p == pytest.approx(both.ttest_ind(usevar='unequal')[1])
  assert (apart.low, apart.high) == pytest.approx(both.tconfint_diff(usevar='unequal'))
  if sizes[0] == sizes[1]:
    differences = weightstats.DescrStatsW(first - second)
    paired = statistics.compare(keyed(first), keyed(second))
    assert paired.p == pytest.approx(differences.ttest_mean(0.0)[1])
    assert (paired.low, paired.high) == pytest.approx(differences.tconfint_mean(0.05))


@pytest.mark.parametrize('paired', [True, False])
@pytest.mark.parametrize('effect', [0.1, 0.5, 1.0, 3.0])
def test_power_and_the_runs_that_it_takes(paired, effect) -> None:
  theirs = statsmodels_power.TTestPower() if paired else statsmodels_power.TTestIndPower()
  for n in (2, 5, 12):
    expected = theirs.power(effect, n, 0.05)
    assert statistics.power(effect, n, paired) == pytest.approx(expected, rel=1e-9)
  found = statistics.runs_needed(-2 * effect, 2.0, paired)
  assert theirs.power(effect, found, 0.05) >= 0.8
  assert found == 2 or theirs.power(effect, found - 1, 0.05) < 0.8


def test_cohens_table() -> None:
  """64 on each side for a medium effect (Cohen, "A power primer", 1992)."""
  assert statistics.runs_needed(0.5, 1.0, paired=False) == 64
  assert statistics.runs_needed(0.8, 1.0, paired=False) == 26


@pytest.mark.parametrize(
  ('difference', 'sd', 'expected'),
  [(0.1, 0.0, 2), (0.1, math.nan, None), (0.0, 1.0, None), (1e-6, 1.0, None)],
)
def test_runs_needed_at_the_edges(difference, sd, expected) -> None:
  assert statistics.runs_needed(difference, sd, paired=True) == expected


def test_holm_is_that_of_statsmodels() -> None:
  p_values = [0.04, 0.001, 0.03, 0.9, 0.012, 0.012]
  expected = multitest.multipletests(p_values, method='holm')[1]
  assert statistics.holm(p_values) == pytest.approx(list(expected))
  with_none = statistics.holm([*p_values[:3], math.nan, *p_values[3:]])
  assert math.isnan(with_none.pop(3))
  assert with_none == pytest.approx(list(expected))
  assert statistics.holm([]) == []


def test_one_run_of_each_tells_nothing() -> None:
  single = statistics.summarize([0.7])
  assert (single.n, single.mean) == (1, 0.7)
  assert all(map(math.isnan, (single.sd, single.low, single.high)))
  for other in ({0: 0.6}, {5: 0.6}, {5: 0.6, 6: 0.61, 7: 0.62}):
    found = statistics.compare({0: 0.7}, other)
    assert not found.tested
    assert found.mean == pytest.approx(0.7 - np.mean(list(other.values())))
    assert all(map(math.isnan, (found.low, found.high, found.p_permutation, found.sd)))
    assert statistics.runs_needed(0.1, found.sd, found.paired) is None
  nothing = statistics.compare({}, {})
  assert not nothing.tested
  assert math.isnan(nothing.mean)
  assert math.isnan(statistics.summarize([]).mean)


def test_runs_without_a_number_are_left_out_and_counted() -> None:
  found = statistics.summarize([0.7, math.nan, 0.8, math.inf])
  assert (found.n, found.mean, found.missing) == (2, pytest.approx(0.75), 2)
  first, second = keyed([0.7, math.nan, 0.74, 0.73]), keyed([0.6, 0.6, 0.65, math.nan])
  found = statistics.compare(first, second)
  assert (found.n, found.missing) == ((2, 2), 4)  # two pairs lost a side each
  assert found.mean == pytest.approx((0.1 + 0.09) / 2)
  found = statistics.compare(first, {seed + 9: value for seed, value in second.items()})
  assert (found.n, found.missing) == ((3, 3), 2)


@pytest.mark.parametrize('first_seed', [0, 9])
def test_runs_that_are_all_alike(first_seed) -> None:
  """Without any spread a t-test would be certain, or divide by rounding; it says nothing then."""
  same = keyed([0.7] * 5)
  found = statistics.summarize(list(same.values()))
  assert (found.sd, found.low, found.high) == (0, 0.7, 0.7)
  equal = statistics.compare(same, keyed([0.7] * 5, first_seed))
  assert (equal.p, equal.p_permutation, equal.mean) == (1, 1, 0)
  lower = statistics.compare(same, keyed([0.1 + 0.2] * 5, first_seed))
  assert not lower.tested
  assert lower.p_permutation == lower.smallest_p
  rounded = statistics.compare(keyed([0.91, 0.81, 0.71]), keyed([0.9, 0.8, 0.7]))
  assert rounded.sd == 0
  assert not rounded.tested


def test_coverage_of_the_intervals() -> None:
  """Of 4000 samples of five, the intervals miss the true mean in a twentieth; three standard errors
  of that share are allowed.
  """
  random, trials = np.random.default_rng(0), 4000
  samples = random.normal(0.7, 0.01, (trials, 5))
  low, high = np.array([(s.low, s.high) for s in map(statistics.summarize, samples)]).T
  share = np.mean((low <= 0.7) & (high >= 0.7))
  assert abs(share - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials)


@pytest.mark.thorough
@pytest.mark.parametrize('paired', [True, False])
def test_errors_of_the_tests(paired) -> None:
  """Without a difference p falls below 0.05 in a twentieth of 800 comparisons, and the interval
  misses 0 in the same ones; with the one that `runs_needed` was asked for, in four fifths.
  """
  random, trials, sd = np.random.default_rng(1), 800, 0.01
  n, difference = 4, 0.0
  for share, expected in ((0.05, 'p'), (0.8, 'power')):
    if expected == 'power':
      difference = 0.03
      n = statistics.runs_needed(difference, sd * (math.sqrt(2) if paired else 1), paired)
      share = statistics.power(difference / (sd * (math.sqrt(2) if paired else 1)), n, paired)
    first = random.normal(0.7 + difference, sd, (trials, n))
    second = random.normal(0.7, sd, (trials, n))
    found = [
      statistics.compare(keyed(a), keyed(b, first=0 if paired else 99))
      for a, b in zip(first, second, strict=True)
    ]
    seen = np.array([one.p < 0.05 for one in found])
    assert [bool(one.low > 0 or one.high < 0) for one in found] == seen.tolist()
    # Welch's degrees of freedom make it a little more careful than the pooled test.
    slack = 0.0 if paired else 0.03
    error = 3 * math.sqrt(share * (1 - share) / trials)
    assert -error - slack < seen.mean() - share < error
