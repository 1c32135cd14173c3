"""What is said of a difference, and what is not."""

import pathlib

import pytest

from cifar_jax.trials import differences
from cifar_jax.trials.groups import Group
from cifar_jax.utils.errors import UserError

GOOD = (0.731, 0.742, 0.735, 0.739, 0.737)
BAD = (0.711, 0.719, 0.713, 0.722, 0.714)


def group(name: str, values, first: int = 0, column: str = 'val_accuracy', **facts) -> Group:
  rows = [
    {
      **{'folder': pathlib.Path(name) / f'seed_{seed}', 'run': name, 'seed': seed},
      **{'data': 'cifar10', 'state': 'finished', column: value, **facts},
    }
    for seed, value in enumerate(values, first)
  ]
  return Group(name, tuple(rows))


def shifted(values, by) -> list[float]:
  return [value + change for value, change in zip(values, by, strict=True)]


def told(groups, column: str = 'val_accuracy', wanted=None, first: Group | None = None) -> str:
  runs = [row['folder'] for row in (first or groups[0]).rows]
  return '\n'.join(differences.tell(groups, runs, groups[0].name, column, wanted))


def test_a_paired_difference() -> None:
  """2.1 points: numbers as SciPy's ttest_rel gives them; 5 pairs allow no p below 2 / 2 ** 5."""
  assert told([group('old', BAD), group('new', GOOD)]).splitlines() == [
    'new less old, val accuracy: +2.10 points, 95 % interval +1.78 to +2.42 points',
    "  p < 0.0001 by Student's t of 5 pairs of equal seeds (0-4); p = 0.062 by permutation, all "
    'signs of the differences, which cannot come below 0.062 with so few',
    '  new is better than old by the t-test (p < 0.05)',
    '  a true difference of 0.50 points would be seen in 80 % of such comparisons with 5 seeds on '
    'each side',
  ]


def test_other_seeds_are_not_paired() -> None:
  text = told([group('old', BAD), group('new', GOOD, first=5)], wanted=1.5)
  assert "by Welch's t of 5 and 5 runs, whose seeds are not all the same; p = 0.0079" in text
  assert 'ways to divide the runs' in text
  assert 'a true difference of 1.50 points would be' in text


def test_of_a_loss_the_lower_is_better() -> None:
  groups = [group(n, v, column='val_loss') for n, v in (('old', BAD), ('new', GOOD))]
  text = told(groups, 'val_loss')
  assert 'new less old, val loss: +0.0210, 95 % interval +0.0178 to +0.0242\n' in text
  assert 'old is better than new' in text
  assert 'true difference' not in text  # of no size that anybody named
  assert 'a true difference of 0.0100 would' in told(groups, 'val_loss', 0.01)


def test_a_mean_average_precision_is_told_in_points() -> None:
  groups = [group(n, v, column='val_map') for n, v in (('old', BAD), ('new', GOOD))]
  text = told(groups, 'val_map')
  assert 'new less old, val map: +2.10 points, 95 % interval +1.78 to +2.42 points\n' in text
  assert 'a true difference of 0.50 points would be' in text


def test_pairs_are_those_of_seeds_that_both_sides_have() -> None:
  text = told([group('old', BAD), group('new', (*GOOD[:4], float('nan')))])
  assert '2 runs have no such number, or their partner has none' in text
  assert 'of 4 pairs of equal seeds (0-3);' in text


def test_one_run_of_each_is_never_better() -> None:
  for groups in (
    [group('old', BAD[:1]), group('new', GOOD[:1])],
    [group('old', BAD), group('new', GOOD[:1])],
  ):
    text = told(groups)
    assert 'one run of a side has no spread' in text
    assert 'is better' not in text
    assert 'p =' not in text


def test_no_difference_is_not_equality() -> None:
  text = told([group('old', BAD), group('new', shifted(BAD, (1, -1, 2, -2, 0.5)))])
  assert 'no difference is shown, which does not mean that there is none' in text
  assert 'is better' not in text


def test_many_are_corrected_by_holm() -> None:
  slightly = shifted(BAD, (0.001, 0.012, 0.005, 0.009, 0.003))  # p = 0.040
  alone = told([group('old', BAD), group('a', slightly)])
  assert 'a is better than old' in alone
  among = told([group('old', BAD), group('a', slightly), group('b', BAD[::-1]), group('c', GOOD)])
  assert "Holm's correction for 3 comparisons" in among
  assert 'c is better than old' in among
  assert among.count('no difference is shown') == 2  # a, too, is one of three now


def test_what_is_not_compared() -> None:
  mnist = group('mnist', GOOD, data='mnist')
  tested = group('tested', GOOD, split_note='test used as validation')
  going_on = group('going_on', GOOD[:1], state='3 of 9')
  old = group('old', BAD)
  text = told([old, mnist, tested, going_on])
  assert 'on other data, or validated on others, so not tested: mnist, tested' in text
  assert 'not finished, so not tested: going_on' in text
  assert 'less' not in text
  assert 'nothing is tested: all finished runs are of one group, old' in told([old])
  assert 'old, with which the others would be compared, has no groups' in told(
    [old, going_on], first=mnist
  )
  both = Group('both', (*old.rows, *mnist.rows))
  assert 'has 2 groups of finished runs, and has to have one' in told([old, mnist], first=both)


def test_the_test_set_is_looked_at_knowingly() -> None:
  groups = [group(n, v, column='test_accuracy') for n, v in (('old', BAD), ('new', GOOD))]
  assert 'this was a look at the test set' in told(groups, 'test_accuracy')
  assert 'look at the test set' not in told([group('old', BAD), group('new', GOOD)])
  note = {'split_note': 'test used as validation'}  # as in many an article
  text = told([group('old', BAD, **note), group('new', GOOD, **note)])
  assert 'their validation images are the test set, so this was a look at the test set' in text


def test_runs_that_do_not_scatter() -> None:
  text = told([group('old', [0.7] * 4), group('new', [0.8] * 4)])
  assert 'the runs do not scatter, so a t-test has nothing to judge by; p = 0.12' in text
  assert 'is better' not in text


def test_the_same_seed_twice_is_named() -> None:
  old = group('old', BAD)
  twice = Group('old', old.rows, (old.rows[0],))
  assert 'old/seed_0: another run of old has the same seed' in told([twice, group('new', GOOD)])


def test_columns_that_cannot_be_compared() -> None:
  with pytest.raises(UserError, match=r"--column=val_acuracy .* did you mean 'val_accuracy'"):
    differences.check_column('val_acuracy')
  with pytest.raises(UserError, match='--column=tags cannot be compared; known are best_val_'):
    differences.check_column('tags')


@pytest.mark.parametrize('wanted', [0, -1, float('nan'), float('inf'), 1e300, 1e-300, 101])
def test_differences_that_nobody_can_want(wanted) -> None:
  with pytest.raises(UserError, match=r'--difference=.*: give a number from 0\.01 to 100 points'):
    differences.check_wanted('val_accuracy', wanted)
  differences.check_wanted('val_accuracy', 0.2)
  differences.check_wanted('seconds', 101)
