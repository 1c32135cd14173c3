"""Charts by matplotlib: each function draws one figure and returns it.

Colors are those of Okabe and Ito, which people with any kind of color vision can tell apart.
What is black in a figure is drawn in INK, so that a page can show it in the reader's own text
color; see `files.inline_svg`.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from cifar_jax.analysis.scores import Calibration
from cifar_jax.analysis.tracing import LayerRecord
from cifar_jax.training.multi_label import Counts, Curve
from cifar_jax.utils.array_types import Confusion
from cifar_jax.utils.optional_deps import require

INK = '#123456'  # dark on white; in a page it stands for the reader's text color
TRAIN, VALIDATION, OTHERS = '#d55e00', '#009e73', ('#0072b2', '#cc79a7', '#e69f00', '#56b4e9')
_STYLE = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'cifar_jax',  # the same chart is the same file
  'font.size': 11,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'axes.facecolor': 'none',
  'grid.alpha': 0.25,
  'grid.color': INK,
  'axes.edgecolor': INK,
  'axes.labelcolor': INK,
  'axes.titlesize': 12,
  'axes.titlecolor': INK,
  'xtick.color': INK,
  'ytick.color': INK,
  'text.color': INK,
  'legend.frameon': False,
  'lines.linewidth': 2,
  'figure.constrained_layout.use': True,
  'text.parse_math': False,  # names with a dollar sign are names
}
# What comes with matplotlib, then what the systems have for other scripts.
_FONTS = (
  *('DejaVu Sans', 'Noto Sans CJK JP', 'Noto Sans CJK SC', 'Noto Sans CJK KR', 'Source Han Sans'),
  *('WenQuanYi Zen Hei', 'IPAGothic', 'Arial Unicode MS', 'PingFang SC', 'Hiragino Sans'),
  *('Microsoft YaHei', 'Yu Gothic', 'Malgun Gothic', 'Noto Sans Devanagari', 'Noto Sans Thai'),
  *('Noto Sans Arabic', 'Noto Sans Hebrew', 'Noto Sans Bengali', 'Noto Sans Symbols2', 'FreeSans'),
)
_WIDTH = 5.2  # inches: in a page on a phone the text is still large enough to be read
_ANNOTATED = 20  # classes up to which a confusion matrix shows its numbers
_NAMED = 200  # classes up to which it shows their names
_LETTERS = 28  # of a name, at most


Drawing = TypeVar('Drawing', bound=Callable[..., Any])


@contextlib.contextmanager
def style() -> Iterator[None]:
  """Lets matplotlib draw and write files in the style of this module and without warnings: glyphs
  that no font has, and names that leave little room, are seen in the image itself.
  """
  matplotlib, fonts = require('report', 'matplotlib', 'matplotlib.font_manager')
  installed = {font.name for font in fonts.fontManager.ttflist}
  families = [name for name in _FONTS if name in installed]
  with (
    matplotlib.rc_context({**_STYLE, 'font.family': families or ['sans-serif']}),
    warnings.catch_warnings(),
  ):
    warnings.simplefilter('ignore')
    yield


def styled(draw: Drawing) -> Drawing:
  """Makes a function draw in the style of this module."""

  @functools.wraps(draw)
  def drawn(*arguments: Any, **options: Any) -> Any:
    with style():
      return draw(*arguments, **options)

  return cast(Drawing, drawn)


def figure(width: float, height: float, **subplots: Any) -> tuple[Any, Any]:
  """A new figure of width x height inches that belongs to no window, and its axes."""
  (module,) = require('report', 'matplotlib.figure')
  made = module.Figure(figsize=(width, height))
  return made, made.subplots(**subplots)


def shortened(name: str, letters: int = _LETTERS) -> str:
  """A name, its middle left out if it is long."""
  name = ' '.join(name.split())
  half = (letters - 1) // 2
  return name if len(name) <= letters else f'{name[:half]}…{name[-half:]}'


@styled
def curves(rows: Sequence[Mapping[str, float]], quantity: str, validation: str) -> Any:
  """Training against validation over the epochs.

  After the charts of "CIFAR-10 classification using Keras Tutorial" (plon.io, 2017) and
  "Understanding Deep Convolutional Neural Networks" (Ahmed Besbes, 2017).

  Args:
    quantity: 'loss' or 'accuracy'.
    validation: What the validation split is to be called.
  """
  made, axes = figure(_WIDTH, 3.4)
  scale = 100 if quantity == 'accuracy' else 1
  for name, color, label in (('train', TRAIN, 'training'), ('val', VALIDATION, validation)):
    points = [
      (row['epoch'], scale * row[f'{name}_{quantity}'])
      for row in rows
      if not np.isnan(row[f'{name}_{quantity}'])
    ]
    _plot(axes, points, color=color, label=label)
  axes.set_title(f'Training {quantity} vs validation {quantity}')
  axes.set_ylabel(f'{quantity}{" (%)" if scale == 100 else ""}')
  _epochs(axes)
  axes.legend()
  return made


@styled
def over_epochs(rows: Sequence[Mapping[str, float]], name: str, title: str) -> Any:
  """One column of metrics.csv over the epochs in which it was measured."""
  made, axes = figure(_WIDTH, 2.6)
  points = [(row['epoch'], row[name]) for row in rows if not np.isnan(row[name])]
  _plot(axes, points, color=OTHERS[0])
  axes.set_title(title)
  axes.set_ylim(bottom=0)
  _epochs(axes)
  return made


@styled
def heat_map(matrix: Confusion, class_names: Sequence[str]) -> Any:
  """The confusion matrix, with its numbers up to 20 classes and their names up to 200."""
  classes = len(matrix)
  annotated = classes <= _ANNOTATED
  names = [shortened(name) for name in class_names]
  room = min(0.09 * max(map(len, names)), 2.4) if classes <= _NAMED else 0.6
  side = max(3.2, (0.5 if annotated else 0.125) * min(classes, _NAMED)) + room
  made, axes = figure(side, side)
  shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
  axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
  axes.grid(visible=False)
  for spine in axes.spines.values():
    spine.set_visible(False)
  if classes <= _NAMED:
    size = 11 if annotated else 7
    turned: dict[str, Any] = {'rotation': 45, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(range(classes), names, **(turned if annotated else {'rotation': 90}))
    axes.set_yticks(range(classes), names)
    axes.tick_params(labelsize=size)
  if annotated:
    # Five digits fill a cell; what has more of them is written smaller.
    digits = min(11.0, 55 / len(str(matrix.max())))
    for true in range(classes):
      for predicted in range(classes):
        color = 'white' if shares[true, predicted] > 0.5 else '#1b2733'
        axes.text(
          *(predicted, true, matrix[true, predicted]),
          **{'ha': 'center', 'va': 'center', 'color': color, 'fontsize': digits},
        )
  axes.tick_params(length=0)
  axes.set_xlabel('predicted')
  axes.set_ylabel('true')
  return made


@styled
def reliability(found: Calibration) -> Any:
  """Accuracy over confidence, the diagonal of perfect calibration, and how many there are."""
  made, (above, below) = figure(5.2, 5.4, nrows=2, height_ratios=(3, 1), sharex=True)
  bins = len(found.counts)
  positions = (np.arange(bins) + 0.5) / bins
  above.bar(positions, np.nan_to_num(found.accuracy), 0.92 / bins, color=OTHERS[0], alpha=0.85)
  above.plot([0, 1], [0, 1], color=INK, linestyle='--', linewidth=1)
  above.set_title(f'Expected calibration error {100 * found.error:.2f} %')
  above.set_ylabel('accuracy')
  above.set_xlim(0, 1)
  above.set_ylim(0, 1)
  below.bar(positions, found.counts, 0.92 / bins, color=OTHERS[0], alpha=0.85)
  below.set_ylabel('images')
  below.set_xlabel('confidence')
  return made


@styled
def precision_recall(curves: Sequence[Curve], names: Sequence[str], counts: Counts) -> Any:
  """Precision over recall of each label that has an image, and the points of the thresholds in use.

  The labels with the most images have colors and names, the others are thin lines.
  """
  made, axes = figure(_WIDTH, 4.2)
  present = [place for place, curve in enumerate(curves) if curve.recall.any()]
  colors = (TRAIN, VALIDATION, *OTHERS)
  colored = sorted(present, key=lambda place: -counts.labeled[place])[: len(colors)]
  for place in sorted(present, key=lambda place: place in colored):
    curve, named = curves[place], place in colored
    color = colors[colored.index(place)] if named else INK
    precision = np.append(curve.precision[:1], curve.precision)
    style = {} if named else {'linewidth': 0.6, 'alpha': 0.4}
    label = f'{shortened(names[place])} {100 * curve.average_precision:.1f} %' if named else None
    axes.step(np.append(0, curve.recall), precision, where='pre', color=color, label=label, **style)
    if named:
      axes.plot(counts.recall[place], counts.precision[place], 'o', color=color)
  axes.set_title('Precision over recall; dots: thresholds in use')
  axes.set_xlabel('recall')
  axes.set_ylabel('precision')
  axes.set_xlim(0, 1.02)
  axes.set_ylim(0, 1.02)
  if colored:
    axes.legend(loc='lower left')
  return made


@styled
def class_bars(values: Sequence[float], class_names: Sequence[str], title: str) -> Any:
  """One horizontal bar per class, in percent."""
  made, axes = _bars([100 * value for value in values], class_names, title, '%.1f')
  axes.set_xlim(0, 112)
  axes.set_xticks(range(0, 101, 20))
  return made


@styled
def counts(values: Sequence[int] | np.ndarray, class_names: Sequence[str]) -> Any:
  """One bar per class: how many images it has."""
  made, axes = _bars(values, class_names, 'Training images of each class', '%g')
  axes.margins(x=0.15, y=0.5 / max(len(values), 1))
  return made


@styled
def learning_rate_range(
  rates: Sequence[float],
  losses: Sequence[float],
  smoothed: Sequence[float],
  marked: Mapping[str, float],
  title: str,
) -> Any:
  """The losses of a range test over the learning rate, with rates of interest as vertical lines."""
  (ticker,) = require('report', 'matplotlib.ticker')
  made, axes = figure(_WIDTH, 4.2)
  axes.set_xscale('log')
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda rate, _: f'{rate:g}'))
  axes.tick_params(axis='x', labelsize=9)
  axes.plot(rates, losses, color=OTHERS[0], alpha=0.3, linewidth=1, label='each batch')
  axes.plot(rates, smoothed, color=TRAIN, label='smoothed')
  looks = ((VALIDATION, '--'), (OTHERS[1], ':'), (INK, '-.'))
  for (name, rate), (color, line) in zip(marked.items(), looks, strict=False):
    axes.axvline(rate, color=color, linestyle=line, label=f'{name}: {rate:.2g}')
  if smoothed:  # where it diverges is seen by the curve leaving the plot
    low = min(smoothed)
    high = max(smoothed[: smoothed.index(low) + 1])
    room = 0.25 * (high - low) + 1e-3
    axes.set_ylim(low - room, high + 2 * room)
  axes.set_title(title)
  axes.set_xlabel('learning rate')
  axes.set_ylabel('loss')
  made.legend(loc='outside lower center', ncols=2, fontsize=9)
  return made


@styled
def network(records: Sequence[LayerRecord], image_shape: Sequence[int]) -> Any:
  """The network as boxes 'name: Kind' with arrows from top to bottom, input first."""
  boxes = [('', 'Input', image_shape)] + [
    (
      record.name,
      record.activation if record.kind == 'Activation' else record.kind,
      record.output_shape,
    )
    for record in records
  ]
  made, axes = figure(5, 0.62 * len(boxes) + 0.2)
  axes.axis('off')
  axes.set_xlim(0, 1)
  axes.set_ylim(len(boxes) - 0.4, -0.6)
  for index, (name, kind, shape) in enumerate(boxes):
    label = f'{name}: {kind}' if name else kind
    axes.text(
      0.5,
      index,
      f'{label}   {"×".join(str(size) for size in shape)}',  # noqa: RUF001
      ha='center',
      va='center',
      fontsize=10,
      bbox={'boxstyle': 'round,pad=0.4', 'facecolor': 'none', 'edgecolor': OTHERS[0]},
    )
    if index:
      axes.annotate(
        '',
        (0.5, index - 0.3),
        (0.5, index - 0.7),
        arrowprops={'arrowstyle': '-|>', 'color': INK, 'linewidth': 1},
      )
  return made


def _plot(axes: Any, points: Sequence[tuple[float, float]], **look: Any) -> None:
  """A curve; few points are marked, whole ones also where the axes end."""
  marker = 'o' if len(points) < 12 else None  # a single point draws no line
  axes.plot(*zip(*points, strict=True), marker=marker, clip_on=marker is None, **look)


def _bars(
  values: Sequence[float] | np.ndarray, class_names: Sequence[str], title: str, form: str
) -> tuple[Any, Any]:
  """A figure with one horizontal bar per class and its value beside it, and its axes."""
  inches = 0.32 if len(values) <= _ANNOTATED else 0.2  # for each bar: less where there are many
  made, axes = figure(_WIDTH, max(2.5, inches * len(values) + 1))
  positions = np.arange(len(values))
  bars = axes.barh(positions, values, color=OTHERS[0], alpha=0.85)
  axes.bar_label(bars, fmt=form, padding=3)
  axes.set_yticks(positions, [shortened(name) for name in class_names])
  axes.invert_yaxis()
  axes.grid(axis='y', visible=False)
  axes.set_title(title)
  return made, axes


def _epochs(axes: Any) -> None:
  """The axis of epochs: whole numbers, also where there is one alone."""
  (ticker,) = require('report', 'matplotlib.ticker')
  axes.set_xlabel('epoch')
  axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  first, last = axes.dataLim.intervalx
  if np.isfinite([first, last]).all() and last - first < 1:
    axes.set_xlim(first - 1, last + 1)
