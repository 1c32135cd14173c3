"""What the numbers of a few runs say: means with intervals, and tests of differences; pure.

A number that is not finite, of a run that failed or was not measured, is no number: it is left out
and counted. Where there is too little to answer with, as a spread of one run, the answer is NaN.
"""

# scipy.stats, which takes a second to import, is imported where there are several runs.
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

CONFIDENCE = 0.95  # of all intervals
POWER = 0.8  # the chance to see a difference that is there
SIGNIFICANCE = 1 - CONFIDENCE
_MOST_ARRANGEMENTS = 100_000  # all are looked at up to here, beyond it a sample
_SAMPLED_ARRANGEMENTS = 20_000
_ALIKE = 1e-12  # a spread below this part of the values is rounding
_MOST_RUNS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Summary:
  """Some numbers of the same kind.

  Attributes:
    n: How many there are.
    mean: Their mean; NaN of none.
    sd: The sample standard deviation, with n - 1; NaN of fewer than two.
    low, high: The interval of Student's t in which the mean of all such runs lies with the
      probability `CONFIDENCE`; NaN of fewer than two.
    missing: How many more were not finite.
  """

  n: int
  mean: float
  sd: float
  low: float
  high: float
  missing: int = 0


@dataclasses.dataclass(frozen=True)
class Difference:
  """The mean of some runs less that of others, and how sure it is.

  Attributes:
    mean: The difference; NaN where a side has no number.
    low, high: Its interval, as in `Summary`; NaN where there is no test.
    p: The probability of a difference at least as large, either way, if there were none: by
      Student's t of the pairs, or by Welch's; NaN where there is no test.
    p_permutation: The same by permutation, which assumes no normal distribution.
    exact: Whether all arrangements were looked at for it, rather than a sample of them.
    smallest_p: What `p_permutation` can come to at least with so few runs.
    paired: Whether the runs of one seed were compared with each other.
    n: The runs of each side that were compared.
    sd: The standard deviation of the differences of pairs; unpaired, the root of the mean variance
      of the two sides; NaN where there is none.
    missing: How many runs were left out, since a number, or that of their pair, was not finite.
  """

  mean: float
  low: float
  high: float
  p: float
  p_permutation: float
  exact: bool
  smallest_p: float
  paired: bool
  n: tuple[int, int]
  sd: float
  missing: int

  @property
  def tested(self) -> bool:
    """Whether there was enough for a test."""
    return not math.isnan(self.p)


def summarize(values: Sequence[float]) -> Summary:
  """Mean, standard deviation and interval of some numbers."""
  from scipy import stats

  found, missing = _finite(values)
  n = len(found)
  mean = float(found.mean()) if n else math.nan
  if n < 2:
    return Summary(n, mean, math.nan, math.nan, math.nan, missing)
  sd = _sd(found)
  half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
  return Summary(n, mean, sd, mean - half, mean + half, missing)


def compare(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
  """The mean of the first runs less that of the second, with its tests.

  They are paired where both have the same seeds: runs of one seed share their validation images
  and, often, their initial weights, so that much of what a seed does cancels out. Otherwise
  Welch's test takes all of them, which assumes no equal variances.

  Args:
    first: Seed -> number.
    second: Likewise.
  """
  if first.keys() == second.keys():
    pairs = np.array([(first[seed], second[seed]) for seed in first], np.float64).reshape(-1, 2)
    kept = pairs[np.isfinite(pairs).all(1)]
    return _tested((kept[:, 0] - kept[:, 1],), kept, 2 * (len(pairs) - len(kept)))
  (one, left_out), (other, more_left_out) = map(_finite, (first.values(), second.values()))
  return _tested((one, other), np.concatenate([one, other]), left_out + more_left_out)


def runs_needed(difference: float, sd: float, paired: bool) -> int | None:
  """The seeds on each side with which a true difference would be seen with the probability `POWER`,
  by a two-sided t-test at `SIGNIFICANCE`.

  Args:
    difference: The true difference; not 0.
    sd: As in `Difference`.
    paired: Whether the same seeds are run on both sides.

  Returns:
    At least 2; None where the spread is not known, or more than a million are needed.
  """
  if math.isnan(sd) or not difference:
    return None
  effect = abs(difference) / sd if sd > 0 else math.inf

  def enough(n: int) -> bool:
    return math.isinf(effect) or power(effect, n, paired) >= POWER

  high = 2
  while not enough(high):
    high *= 2
    if high > _MOST_RUNS:
      return None
  low = max(high // 2, 1)  # not enough, or 1
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if enough(middle) else (middle, high)
  return high


def power(effect: float, n: int, paired: bool) -> float:
  """The probability that a two-sided t-test at `SIGNIFICANCE` sees a difference.

  Args:
    effect: The true difference in standard deviations, as `sd` of `runs_needed` counts them.
    n: The number of pairs, or of runs on each side; at least 2.
  """
  from scipy import stats

  freedom = n - 1 if paired else 2 * (n - 1)
  shift = effect * math.sqrt(n if paired else n / 2)
  critical = stats.t.ppf(1 - SIGNIFICANCE / 2, freedom)
  above = stats.nct.sf(critical, freedom, shift)
  below = stats.nct.cdf(-critical, freedom, shift)
  return float(above + (0.0 if math.isnan(below) else below))


def holm(p_values: Sequence[float]) -> list[float]:
  """The p-values of several tests, raised by Holm's method so that the probability of any false
  discovery among all of them stays at `SIGNIFICANCE`. NaN, no test, stays NaN and does not count.
  """
  adjusted = [math.nan] * len(p_values)
  tested = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
  so_far = 0.0
  for rank, (p, index) in enumerate(tested):
    so_far = max(so_far, min(1.0, (len(tested) - rank) * p))
    adjusted[index] = so_far
  return adjusted


def _tested(samples: tuple[np.ndarray, ...], scale: np.ndarray, missing: int) -> Difference:
  """A difference of means with its tests.

  Args:
    samples: The differences of pairs, or the numbers of either side.
    scale: All numbers, whose size says which spread is rounding.
    missing: As in `Difference`.
  """
  from scipy import stats

  paired = len(samples) == 1
  n = len(samples[0]), len(samples[-1])
  count = 2 ** n[0] if paired else math.comb(sum(n), n[0])
  sd = low = high = p = p_permutation = math.nan
  exact = True
  if min(n) > 1:
    p_permutation, exact = _permutation_test(samples, count)
    sd = math.sqrt(sum(_sd(sample, scale) ** 2 for sample in samples) / len(samples))
    if sd > 0:
      result = (
        stats.ttest_1samp(*samples, 0.0) if paired else stats.ttest_ind(*samples, equal_var=False)
      )
      low, high = (float(end) for end in result.confidence_interval(CONFIDENCE))
      p = float(result.pvalue)
    elif not samples[0].any() if paired else samples[0][0] == samples[1][0]:
      p = 1.0  # no run differs from the other of its pair, or from any
  return Difference(
    mean=float(_difference_of_means(*samples)) if min(n) else math.nan,
    low=low,
    high=high,
    p=p,
    p_permutation=p_permutation,
    exact=exact,
    smallest_p=min(1.0, 2 / count),
    paired=paired,
    n=n,
    sd=sd,
    missing=missing,
  )


def _permutation_test(samples: tuple[np.ndarray, ...], count: int) -> tuple[float, bool]:
  """The two-sided p-value of a difference of means, and whether all `count` arrangements, signs of
  the differences of pairs or ways to divide both sides, were looked at.
  """
  from scipy import stats

  exact = count <= _MOST_ARRANGEMENTS
  result = stats.permutation_test(
    samples,
    _difference_of_means,
    permutation_type='samples' if len(samples) == 1 else 'independent',
    vectorized=True,
    n_resamples=count if exact else _SAMPLED_ARRANGEMENTS,
    batch=10_000,
    rng=np.random.default_rng(0),  # the same answer to the same question
  )
  return float(result.pvalue), exact


def _difference_of_means(*samples: np.ndarray, axis: int = -1) -> Any:
  first, *second = (sample.mean(axis) for sample in samples)
  return first - sum(second)


def _finite(values: Iterable[float]) -> tuple[np.ndarray, int]:
  """Those that are finite, float64 [n], and how many are not."""
  given = np.asarray(list(values), np.float64)
  found = given[np.isfinite(given)]
  return found, len(given) - len(found)


def _sd(values: np.ndarray, scale: np.ndarray | None = None) -> float:
  """The sample standard deviation; 0 where what there is of it is rounding.

  Args:
    scale: Numbers of the size that was rounded; None for the values themselves.
  """
  sd = float(values.std(ddof=1))
  size = float(np.abs(values if scale is None else scale).max())
  return sd if sd > _ALIKE * size else 0.0
