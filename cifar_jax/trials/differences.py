"""Whether one system is better than another, in sentences that claim no more than the runs show."""

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from cifar_jax.trials import statistics
from cifar_jax.trials.groups import MEASURED, Group, is_share, listed_seeds
from cifar_jax.trials.statistics import Difference
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

_TEST_USED = 'test used as validation'  # in a run's split_note
_LOOK = 'a look at the test set: whoever chooses by it has no test set left'
USUAL_DIFFERENCE = 0.5  # points of accuracy that the seeds needed are told for


class Comparison(NamedTuple):
  """A group less the one that it is compared with.

  Attributes:
    group: The group.
    baseline: What it is compared with.
    difference: Of a column.
    p: The p-value of the difference, corrected for the number of comparisons; NaN without a test.
    among: How many were tested.
  """

  group: Group
  baseline: Group
  difference: Difference
  p: float
  among: int


def check_column(column: str) -> None:
  """Raises UserError where a column holds nothing that could be compared."""
  if column not in MEASURED:
    raise UserError(f'--column={column} cannot be compared{did_you_mean(column, MEASURED)}')


def check_wanted(column: str, wanted: float) -> None:
  """Raises UserError where a difference is none to look for in a column, or is shown as none.

  Args:
    column: One of `MEASURED`.
    wanted: In points of accuracy, or in the unit of the column.
  """
  of_share = is_share(column)
  least, most = (0.01, 100.0) if of_share else (1e-4, 1e9)
  if not least <= wanted <= most:
    unit = ' points' if of_share else ''
    raise UserError(f'--difference={wanted:g}: give a number from {least:g} to {most:g}{unit}')


def compare(groups: Sequence[Group], column: str) -> list[Comparison]:
  """All groups but the first, each less the first, with Holm's correction.

  The first is chosen before its numbers are seen; to compare with the best, which its numbers
  choose, would find differences where there are none.

  Args:
    groups: Finished runs on the same data.
    column: One of `MEASURED`.
  """
  baseline, *others = groups
  found = [statistics.compare(other.values(column), baseline.values(column)) for other in others]
  corrected = statistics.holm([difference.p for difference in found])
  tested = sum(difference.tested for difference in found)
  return [
    Comparison(group, baseline, difference, p, tested)
    for group, difference, p in zip(others, found, corrected, strict=True)
  ]


def tell(
  groups: Sequence[Group],
  first: Sequence[pathlib.Path],
  named: object,
  column: str,
  wanted: float | None = None,
) -> list[str]:
  """What is said of the differences between groups, in lines.

  Args:
    groups: All groups, from `groups.grouped`; those that cannot be compared are named.
    first: The runs that the others are compared with.
    named: What the user called these.
    column: What is compared, one of `MEASURED`.
    wanted: As in `sentences`.
  """
  lines = []
  for group in groups:
    if group.repeated:
      names = ', '.join(str(row['folder']) for row in group.repeated)
      lines.append(f'{names}: another run of {group.name} has the same seed, so it is left out')
  finished = [group for group in groups if group.finished]
  baselines = [group for group in finished if set(first) & {row['folder'] for row in group.rows}]
  if len(baselines) != 1:
    return [
      *lines,
      f'nothing is tested: {named}, with which the others would be compared, has '
      f'{len(baselines) or "no"} groups of finished runs, and has to have one',
    ]
  (baseline,) = baselines
  others = [group for group in finished if group is not baseline]
  if unfinished := [group.name for group in groups if not group.finished]:
    lines.append(f'not finished, so not tested: {", ".join(unfinished)}')
  alike = [group for group in others if _comparable(group, baseline, column)]
  if apart := [group.name for group in others if group not in alike]:
    lines.append(f'on other data, or validated on others, so not tested: {", ".join(apart)}')
  if not others:
    lines.append(f'nothing is tested: all finished runs are of one group, {baseline.name}')
  for found in compare([baseline, *alike], column):
    head, *rest = sentences(found, column, wanted)
    lines += [head, *(f'  {line}' for line in rest)]
  if alike and column.startswith('test_'):
    lines.append(f'this was {_LOOK}')
  elif alike and _validated(column) and _on_test(baseline):
    lines.append(f'their validation images are the test set, so this was {_LOOK}')
  return lines


def _comparable(group: Group, baseline: Group, column: str) -> bool:
  """Whether a column is measured on images of the same set, some held out by seed."""
  same = not _validated(column) or _on_test(group) == _on_test(baseline)
  return group.data == baseline.data and same


def _validated(column: str) -> bool:
  return column.startswith(('val_', 'best_val_'))


def _on_test(group: Group) -> bool:
  """Whether its validation images are the test set."""
  return _TEST_USED in (group.rows[0].get('split_note') or '')


def sentences(found: Comparison, column: str, wanted: float | None = None) -> list[str]:
  """What a comparison says, a sentence a line.

  Args:
    found: The comparison.
    column: What was compared.
    wanted: The difference, in points of accuracy or in the unit of the column, for which the seeds
      needed are told; None: half a point of accuracy, of other columns none.
  """
  difference, ours, theirs = found.difference, found.group.name, found.baseline.name
  title = f'{ours} less {theirs}, {column.replace("_", " ")}'
  if math.isnan(difference.mean):
    return [f'{title}: there is no number on one side']
  lines = [f'{title}: {amount(column, difference.mean)}{_interval(column, difference)}']
  if difference.missing:
    lines.append(f'{difference.missing} runs have no such number, or their partner has none')
  if not difference.tested:
    return [*lines, *_untested(difference)]
  lines += [_test(found, column), _verdict(found, column)]
  if needed := _needed(difference, column, wanted):
    lines.append(needed)
  return lines


def amount(column: str, value: float, signed: bool = True) -> str:
  """A difference as people read it: '+0.42 points'."""
  sign = '+' if signed else ''
  if is_share(column):
    return f'{100 * value:{sign}.2f} points'
  if column == 'seconds':
    return f'{value:{sign}.1f} s'
  return f'{value:{sign}.4f}' if column.endswith('loss') else f'{value:{sign}.4g}'


def _interval(column: str, difference: Difference) -> str:
  if math.isnan(difference.low):
    return ''
  low, high = amount(column, difference.low), amount(column, difference.high)
  number, _, _ = low.partition(' ')
  return f', {100 * statistics.CONFIDENCE:.0f} % interval {number} to {high}'


def _untested(difference: Difference) -> list[str]:
  if min(difference.n) < 2:
    return [
      'one run of a side has no spread to judge the difference by: it may be the seed alone, so '
      'none is called better; python -m cifar_jax repeat trains more seeds'
    ]
  return [
    'the runs do not scatter, so a t-test has nothing to judge by; '
    f'p {_p(difference.p_permutation)} by permutation'
  ]


def _test(found: Comparison, column: str) -> str:
  difference, (n, m) = found.difference, found.difference.n
  if difference.paired:
    sides = [side.values(column) for side in (found.group, found.baseline)]
    seeds = [seed for seed in found.group.seeds if all(math.isfinite(x[seed]) for x in sides)]
    test = f"by Student's t of {n} pairs of equal seeds ({listed_seeds(seeds)})"
    arrangements = 'signs of the differences'
  else:
    test = f"by Welch's t of {n} and {m} runs, whose seeds are not all the same"
    arrangements = 'ways to divide the runs'
  corrected = ''
  if found.among > 1:
    corrected = f" (Holm's correction for {found.among} comparisons: p {_p(found.p)})"
  which = f'all {arrangements}' if difference.exact else f'a sample of the {arrangements}'
  floor = ''
  if difference.smallest_p > statistics.SIGNIFICANCE:
    floor = f', which cannot come below {difference.smallest_p:.2g} with so few'
  return (
    f'p {_p(difference.p)}{corrected} {test}; p {_p(difference.p_permutation)} by permutation, '
    f'{which}{floor}'
  )


def _verdict(found: Comparison, column: str) -> str:
  if found.p >= statistics.SIGNIFICANCE:
    return 'no difference is shown, which does not mean that there is none'
  better = (found.difference.mean > 0) == MEASURED[column]
  ours, theirs = found.group.name, found.baseline.name
  first, second = (ours, theirs) if better else (theirs, ours)
  return f'{first} is better than {second} by the t-test (p < {statistics.SIGNIFICANCE:.2g})'


def _needed(difference: Difference, column: str, wanted: float | None) -> str:
  of_share = is_share(column)
  if wanted is None:
    if not of_share:
      return ''
    wanted = USUAL_DIFFERENCE
  value = wanted / 100 if of_share else wanted
  seeds = statistics.runs_needed(value, difference.sd, difference.paired)
  chance = f'{100 * statistics.POWER:.0f} %'
  what = f'a true difference of {amount(column, value, signed=False)}'
  if seeds is None:
    return f'{what} would take more than a million seeds on each side to see'
  return f'{what} would be seen in {chance} of such comparisons with {seeds} seeds on each side'


def _p(value: float) -> str:
  """'= 0.031' or '< 0.0001'."""
  return f'= {value:.2g}' if value >= 1e-4 else '< 0.0001'
