"""The picture of an evolution: each individual once, families in rows of their own."""

import pytest

from cifar_jax.figures.files import save_figure
from cifar_jax.search.evolution import Individual, Stage
from cifar_jax.search.family_tree import ancestors, family_tree, rows_of
from cifar_jax.search.size import Size
from tests.helpers.genomes import ADV


def individual(number: int, *parents: int, score: float | None = 0.5, stage: int = 0) -> Individual:
  origin = 'drawn' if not parents else 'crossed' if len(parents) > 1 else 'mutated'
  return Individual(number, ADV, parents, 0, stage, origin, Size(1, 1), score=score)


# 0 has 2, 3 and 5; 2 has 4, which has 6; 1 has nobody but half of 3.
FAMILY = [
  individual(0),
  individual(1, score=None),
  individual(2, 0),
  individual(3, 0, 1),
  individual(4, 2, score=0.7),
  individual(5, 0),
  individual(6, 4, stage=1),
]


def test_rows_by_hand():
  """The line of 0, 2, 4, 6 lives longest; then come 5, the younger, and 3; then the family of 1."""
  assert rows_of(FAMILY) == {0: 0, 2: 0, 4: 0, 6: 0, 5: 1, 3: 2, 1: 3}


def test_those_whose_parents_are_not_there_are_founders():
  assert rows_of(FAMILY[2:]) == {2: 0, 4: 0, 6: 0, 3: 1, 5: 2}
  assert rows_of([]) == {}


def test_a_long_line_is_one_row():
  line = [individual(0), *(individual(number, number - 1) for number in range(1, 3000))]
  assert set(rows_of(line).values()) == {0}


def test_the_line_of_first_parents():
  assert ancestors(FAMILY, 6) == [0, 2, 4, 6]
  assert ancestors(FAMILY, 3) == [0, 3]
  assert ancestors(FAMILY, 1) == [1]


def test_the_picture_shows_all_and_the_best(tmp_path):
  pytest.importorskip('matplotlib')
  made = family_tree(FAMILY, (Stage(0.5, 6), Stage(1, None)))
  axes, bar = made.axes
  points = sorted(
    tuple(place) for marks in axes.collections for place in marks.get_offsets().tolist()
  )
  # The one that was not measured is there too, and the best of the last stage, 6, has a ring.
  expected = {number: (number, row) for number, row in rows_of(FAMILY).items()}
  assert points == sorted([*expected.values(), expected[6]])
  assert bar.get_ylabel() == 'validation accuracy (%)'
  texts = [text.get_text() for text in axes.texts]
  assert {' 0.5 epochs', ' 1 epoch'} < set(texts)
  assert 'currentColor' in save_figure(made, tmp_path, 'family_tree')


def test_nothing_measured_yet_is_a_picture_too(tmp_path):
  pytest.importorskip('matplotlib')
  save_figure(family_tree([individual(0, score=None)], (Stage(1, None),)), tmp_path, 'family_tree')
  save_figure(family_tree([], (Stage(1, None),)), tmp_path, 'none')
