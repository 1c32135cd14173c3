"""Charts of a study: what its trials found, and which options mattered."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.figures.charts import INK, OTHERS, TRAIN, VALIDATION, figure, shortened, styled
from cifar_jax.utils.optional_deps import require

_WIDTH = 5.2  # inches
_ABSENT = -0.1  # where an option stands that a trial did not have, on axes from 0 to 1
_SLICES_ABREAST = 4
_MOST_LINES = 400  # of parallel coordinates: the best ones
_LOOKS = {'complete': ('o', VALIDATION), 'pruned': ('x', OTHERS[2]), 'failed': ('|', TRAIN)}


@dataclasses.dataclass(frozen=True)
class Axis:
  """One number of each trial.

  Attributes:
    name: What it is called.
    values: A number or a word for each trial; None where it has none.
    log: Whether it is drawn on a logarithmic axis.
    choices: The words, in order; () for numbers.
  """

  name: str
  values: Sequence[Any]
  log: bool = False
  choices: tuple[str, ...] = ()

  def positions(self) -> np.ndarray:
    """Each trial's place from 0 to 1, float64 [trials]; NaN where it has none."""
    if self.choices:
      last = max(1, len(self.choices) - 1)
      places = [
        math.nan if value is None else self.choices.index(value) / last for value in self.values
      ]
      return np.array(places, float)
    numbers = np.array([math.nan if value is None else value for value in self.values], float)
    numbers = np.log(numbers) if self.log else numbers
    if np.isnan(numbers).all():
      return numbers
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return (numbers - low) / (high - low) if high > low else numbers * 0 + 0.5

  def ends(self) -> tuple[float, float]:
    """The smallest and the largest number."""
    present = [value for value in self.values if value is not None]
    return (min(present), max(present)) if present else (math.nan, math.nan)


@styled
def history(
  numbers: Sequence[int],
  states: Sequence[str],
  values: Sequence[float | None],
  title: str,
  unit: str,
  largest_is_best: bool,
) -> Any:
  """The result of each trial, and the best so far.

  Args:
    numbers: Of the trials.
    states: As in the table.
    values: None where a trial has none; it is then marked at the foot.
    title: What was looked for.
    unit: Of the values.
    largest_is_best: Or the smallest.
  """
  made, axes = figure(_WIDTH, 3.4)
  present = [value for value in values if value is not None]
  foot = min(present, default=0.0)
  for state, (marker, color) in _LOOKS.items():
    points = [
      (number, foot if value is None else value)
      for number, found, value in zip(numbers, states, values, strict=True)
      if found == state and (value is not None or state != 'complete')
    ]
    if points:
      axes.scatter(*zip(*points, strict=True), 24, marker=marker, color=color, label=state)
  best, steps = None, []
  for number, value in zip(numbers, values, strict=True):
    if value is None:
      continue
    better = best is None or (value > best if largest_is_best else value < best)
    best = value if better else best
    steps.append((number, best))
  if steps:
    axes.step(*zip(*steps, strict=True), where='post', color=OTHERS[0], label='best so far')
  axes.set_title(title)
  axes.set_xlabel('trial')
  axes.set_ylabel(unit)
  (ticker,) = require('report', 'matplotlib.ticker')
  axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  if steps:
    made.legend(loc='outside lower center', ncols=4, fontsize=9)
  return made


@styled
def importance(shares: Mapping[str, float]) -> Any:
  """One bar per option: its share of what makes the best trials differ from the others."""
  made, axes = figure(_WIDTH, max(1.8, 0.34 * len(shares) + 1))
  places = np.arange(len(shares))
  bars = axes.barh(places, list(shares.values()), color=OTHERS[0], alpha=0.85)
  axes.bar_label(bars, fmt='%.2f', padding=3)
  axes.set_yticks(places, [shortened(name) for name in shares])
  axes.invert_yaxis()
  axes.set_xlim(0, 1.15 * max(shares.values(), default=1) or 1)
  axes.grid(axis='y', visible=False)
  axes.set_title('Importance of options')
  return made


@styled
def slices(options: Sequence[Axis], values: Sequence[float], unit: str) -> Any:
  """Each option against the result, one small plot each; later trials are darker."""
  columns = min(_SLICES_ABREAST, len(options))
  rows = -(-len(options) // columns)
  made, grid = figure(
    2.6 * columns, 2.4 * rows, nrows=rows, ncols=columns, sharey=True, squeeze=False
  )
  order = np.arange(len(values))
  for axes, option in zip(grid.flat, options, strict=False):
    there = [index for index, value in enumerate(option.values) if value is not None]
    if option.choices:
      x = [float(option.choices.index(option.values[index])) for index in there]
      axes.set_xticks(range(len(option.choices)), [shortened(c, 12) for c in option.choices])
      axes.set_xlim(-0.5, len(option.choices) - 0.5)
    else:
      x = [float(option.values[index]) for index in there]
    y = [values[index] for index in there]
    axes.scatter(x, y, 18, order[there], cmap=_blues(), vmin=0, vmax=max(1, len(values) - 1))
    if option.log:
      _log_axis(axes)
    axes.set_xlabel(shortened(option.name))
  for axes in grid.flat[len(options) :]:
    axes.axis('off')
  for axes in grid[:, 0]:
    axes.set_ylabel(unit)
  return made


@styled
def parallel(options: Sequence[Axis], values: Sequence[float], unit: str, best: int) -> Any:
  """One line per trial through its options to its result, the best trial in another color.

  Args:
    options: The axes from left to right.
    values: The results, which are the last axis.
    unit: Of the results.
    best: The place of the best trial.
  """
  result = Axis(unit, values)
  axes_of = [*options, result]
  made, axes = figure(max(_WIDTH, 1.25 * len(axes_of)), 3.6)
  places = np.stack([option.positions() for option in axes_of], 1)
  absent = np.isnan(places)
  places = np.where(absent, _ABSENT, places)
  order = np.argsort(places[:, -1])
  if places[best, -1] < 0.5:
    order = order[::-1]  # the smallest is the best, and is drawn last
  (matplotlib,) = require('report', 'matplotlib')
  colors = matplotlib.colormaps['viridis']
  x = np.arange(len(axes_of))
  for index in order[-_MOST_LINES:]:
    axes.plot(x, places[index], color=colors(places[index, -1]), alpha=0.55, linewidth=1)
  axes.plot(x, places[best], color=TRAIN, linewidth=2.4)
  for place, option in enumerate(axes_of):
    axes.axvline(place, color=INK, linewidth=0.8)
    _label_axis(axes, place, option, bool(absent[:, place].any()))
  axes.set_xlim(-0.4, len(axes_of) - 0.4)
  axes.set_ylim(-0.18, 1.08)
  axes.set_yticks([])
  axes.grid(visible=False)
  for spine in axes.spines.values():
    spine.set_visible(False)
  axes.set_xticks(x, [shortened(option.name, 16) for option in axes_of], rotation=20, ha='right')
  axes.tick_params(length=0)
  axes.set_title('Each trial a line; the best one is orange')
  return made


def _label_axis(axes: Any, place: float, option: Axis, some_absent: bool) -> None:
  """The words or the ends of one of the parallel axes."""
  if option.choices:
    last = max(1, len(option.choices) - 1)
    marks = [(index / last, shortened(c, 10)) for index, c in enumerate(option.choices)]
  else:
    low, high = option.ends()
    marks = [(0.0, f'{low:.3g}'), (1.0, f'{high:.3g}')] if low < high else [(0.5, f'{low:.3g}')]
  if some_absent:
    marks.append((_ABSENT, 'absent'))
  for height, text in marks:
    axes.annotate(
      text,
      (place, height),
      (4, 0),
      textcoords='offset points',
      va='center',
      fontsize=8,
      bbox={'boxstyle': 'round,pad=0.1', 'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.7},
      color='#1b2733',
    )


@styled
def front(values: Sequence[Sequence[float]], names: Sequence[str], is_best: Sequence[bool]) -> Any:
  """Two objectives against each other, with those trials marked that none beats in both.

  Args:
    values: The two results of each trial.
    names: Of the two, with their units.
    is_best: Whether no other trial is better in both.
  """
  made, axes = figure(_WIDTH, 3.6)
  points = np.asarray(values, float).reshape(-1, 2)
  chosen = np.asarray(is_best, bool)
  axes.scatter(*points[~chosen].T, 18, color=OTHERS[0], alpha=0.6, label='trials')
  axes.scatter(*points[chosen].T, 40, color=TRAIN, label='beaten by none')
  axes.set_xlabel(names[0])
  axes.set_ylabel(names[1])
  axes.set_title('Two objectives')
  made.legend(loc='outside lower center', ncols=2, fontsize=9)
  return made


def _log_axis(axes: Any) -> None:
  """A logarithmic axis whose numbers are plain: the style writes no formulas."""
  (ticker,) = require('report', 'matplotlib.ticker')
  axes.set_xscale('log')
  low, high = axes.get_xlim()
  # A narrow plot holds four numbers.
  subs = [1.0, 3.0] if high < 30 * low else [1.0]
  if high < 5 * low:
    subs = [1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=4))
  axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _blues() -> Any:
  """A color map without its palest and its darkest colors."""
  (matplotlib,) = require('report', 'matplotlib')
  colors = matplotlib.colormaps['Blues'](np.linspace(0.3, 0.85, 64))
  (module,) = require('report', 'matplotlib.colors')
  return module.ListedColormap(colors)
