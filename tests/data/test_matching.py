"""Classes of other data are those of a network by their names, or not at all."""

import pytest

from cifar_jax.data.matching import BY_NAME, BY_NUMBER, match_classes, parse_renamed
from cifar_jax.utils.errors import UserError

OURS = ('airplane', 'automobile', 'cat', 'dog')


def test_a_subset_in_another_order_is_renumbered() -> None:
  found = match_classes(('dog', 'airplane'), OURS, 'a set')
  assert (found.numbers.tolist(), found.how) == ([3, 0], BY_NAME)
  assert str(found) == '2 classes, matched by name'


def test_numbers_without_names_count_where_there_are_as_many() -> None:
  found = match_classes(('0', '1', '2', '3'), OURS, 'a set')
  assert (found.numbers.tolist(), found.how) == ([0, 1, 2, 3], BY_NUMBER)
  # Folders are sorted as text, in which 10 comes before 2.
  names = tuple(str(number) for number in range(11))
  found = match_classes(sorted(names), [f'class {name}' for name in names], 'a set')
  assert found.numbers.tolist() == [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]
  with pytest.raises(UserError, match='labels without names, 0, 1, 2, and the run has the 4 cl'):
    match_classes(('0', '1', '2'), OURS, 'a set')


def test_digits_are_names_to_a_network_of_digits_and_in_known_sets() -> None:
  digits = tuple('0123456789')
  found = match_classes(('7', '1'), digits, 'a set')
  assert (found.numbers.tolist(), found.how) == ([7, 1], BY_NAME)
  ten = [f'class {digit}' for digit in digits]
  assert match_classes(digits, ten, 'a set').how == BY_NUMBER
  with pytest.raises(UserError, match=r'MNIST has the classes 0, 1, .* trained on the classes cl'):
    match_classes(digits, ten, 'MNIST', digits_are_names=True)


@pytest.mark.parametrize(
  ('theirs', 'remedy'),
  [
    (('Cat', 'dog'), r'lack Cat; say .* --classes=Cat=cat, or leave .* --skip_unknown_classes'),
    (('cats', 'AIR-PLANE'), '--classes=cats=cat,AIR-PLANE=airplane, or'),
    (('cat', 'zzz'), r'classes cat, zzz, but .* airplane, automobile, cat, dog, which lack zzz'),
  ],
)
def test_other_names_are_refused_with_both_lists(theirs, remedy) -> None:
  with pytest.raises(UserError, match=remedy):
    match_classes(theirs, OURS, 'a set')


def test_names_are_other_ones_as_the_user_says() -> None:
  found = match_classes(
    ('car', 'lorry', 'cat'), OURS, 'a set', {'car': 'automobile', 'lorry': 'automobile'}
  )
  assert found.numbers.tolist() == [1, 1, 2]
  assert str(found) == '3 classes, matched by name; with car = automobile, lorry = automobile'
  with pytest.raises(UserError, match='--classes=cat=dog: a set has no class cat; known are bird'):
    match_classes(('bird',), OURS, 'a set', {'cat': 'dog'})
  with pytest.raises(UserError, match="the run has no class dogg; did you mean 'dog'"):
    match_classes(('bird',), OURS, 'a set', {'bird': 'dogg'})


def test_classes_that_the_network_lacks_are_left_out_as_the_user_says() -> None:
  found = match_classes(('frog', 'dog'), OURS, 'a set', skip_unknown=True)
  assert (found.numbers.tolist(), found.left_out) == ([-1, 3], ('frog',))
  assert str(found) == ('1 classes, matched by name; left out, since the run lacks them: frog')
  with pytest.raises(UserError, match='which lack frog'):
    match_classes(('frog',), OURS, 'a set', skip_unknown=True)


def test_the_option_is_read() -> None:
  assert parse_renamed('car=automobile, a b=c') == {'car': 'automobile', 'a b': 'c'}
  assert parse_renamed('') == {}
  for text in ('car', 'car=', '=automobile', 'a=b,a=c', 'a=b,'):
    with pytest.raises(UserError, match='NAME_IN_THE_SET=NAME_IN_THE_RUN'):
      parse_renamed(text)
