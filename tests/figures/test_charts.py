"""Charts: what one sees of few epochs, many runs, many classes, and names of any kind."""

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip('matplotlib')

from cifar_jax.figures import charts, files

HOSTILE = (
  '<script>alert(1)</script>',
  '猫と犬',
  '$x^{2$',
  'never ending ' * 40,
  'كلب',
  '\U0001f431',
)


def rows(epochs: int) -> list[dict[str, float]]:
  names = ('train_loss', 'train_accuracy', 'val_loss', 'val_accuracy', 'learning_rate')
  return [{'epoch': e, **dict.fromkeys(names, 1 - e / epochs)} for e in range(1, epochs + 1)]


def test_one_epoch_has_an_axis_of_whole_numbers() -> None:
  """It ran from 0.945 to 1.050."""
  for drawn in (
    charts.curves(rows(1), 'accuracy', 'validation'),
    charts.over_epochs(rows(1), 'learning_rate', 'Learning rate'),
  ):
    drawn.draw_without_rendering()
    axes = drawn.axes[0]
    assert axes.get_xlim() == (0, 2)
    assert [tick for tick in axes.get_xticks() if 0 <= tick <= 2] == [0, 1, 2]


@pytest.mark.parametrize('epochs', [1, 3, 11])
def test_markers_are_whole(epochs: int) -> None:
  """A rate that falls to 0 ends on the axis, which cut its marker in half."""
  (line,) = charts.over_epochs(rows(epochs), 'learning_rate', 'Learning rate').axes[0].lines
  assert line.get_ydata()[-1] == 0
  assert line.get_marker() == 'o'
  assert not line.get_clip_on()


@pytest.mark.parametrize(('classes', 'named'), [(2, True), (21, True), (100, True), (300, False)])
def test_classes_are_named_on_both_axes(classes: int, named: bool) -> None:
  names = [f'class {k}' for k in range(classes)]
  axes = charts.heat_map(np.eye(classes, dtype=int), names).axes[0]
  for axis in (axes.xaxis, axes.yaxis):
    shown = [label.get_text() for label in axis.get_ticklabels()]
    assert (shown == names) is named


@pytest.mark.filterwarnings('error')
def test_names_of_any_kind_are_drawn_as_they_are(tmp_path, capfd) -> None:
  """Without warnings of missing glyphs, without formulas, and never as markup."""
  counts = np.eye(len(HOSTILE), dtype=int)
  for name, drawn in {
    'matrix': charts.heat_map(counts, HOSTILE),
    'bars': charts.class_bars([0.5] * len(HOSTILE), HOSTILE, 'Accuracy'),
    'counts': charts.counts([5] * len(HOSTILE), HOSTILE),
  }.items():
    markup = files.save_figure(drawn, tmp_path, name)
    assert '<script' not in markup
    tree = ElementTree.parse(tmp_path / f'{name}.svg')
    texts = {''.join(element.itertext()) for element in tree.iter() if element.tag.endswith('text')}
    assert {'<script>alert(1)</script>', '猫と犬', '$x^{2$', 'كلب', '\U0001f431'} <= texts
    assert any(text.startswith('never ending') and '…' in text for text in texts)
  assert capfd.readouterr() == ('', '')


def test_long_names_keep_their_ends() -> None:
  assert charts.shortened('short\nname') == 'short name'
  assert charts.shortened('a' * 28) == 'a' * 28
  assert charts.shortened('a' * 20 + 'b' * 20) == 'a' * 13 + '…' + 'b' * 13


def test_numbers_below_narrow_logarithmic_plots_do_not_touch() -> None:
  from cifar_jax.figures import study_charts

  ranges = [(1e-4, 1e-1), (3e-4, 1e-2), (8, 20), (1e-8, 10)]
  options = [study_charts.Axis('x', ends, log=True) for ends in ranges]
  made = study_charts.slices(options, [0.1, 0.2], '%')
  made.canvas.draw()
  for axes in made.axes:
    low, high = axes.get_xlim()
    shown = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in shown]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
