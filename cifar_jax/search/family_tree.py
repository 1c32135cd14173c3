"""Who came from whom in an evolution, as a picture: time goes to the right, accuracy is the color.

Each individual has a column of its own, by its number. A line of descent goes on in the row of its
ancestor; where one has more children, the others' rows are next to it. The second parent of those
that have two is joined by a thin line.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cifar_jax.figures.charts import INK, OTHERS, TRAIN, figure, styled
from cifar_jax.search.evolution import (
  CROSSED,
  DRAWN,
  FIRST,
  MUTATED,
  PROMOTED,
  VARIED,
  Individual,
  Stage,
  best_of,
)

_MARKS = {FIRST: 's', DRAWN: 'o', VARIED: 'o', PROMOTED: '>', MUTATED: 'o', CROSSED: 'D'}
_WIDTH, _HEIGHT = (6.0, 12.0), (3.4, 14.0)  # inches, from few to many individuals
_NUMBERED = 40  # individuals up to which each has its number beside it


def rows_of(individuals: Sequence[Individual]) -> dict[int, int]:
  """Number -> row, counted from the top.

  A family, which is a founder and all that come from it by their first parents, has rows of its
  own. Of the children of one the family of which lives longest goes on in its parent's row.
  """
  there = {x.number for x in individuals}
  children: dict[int | None, list[int]] = {}
  for x in individuals:
    parent = x.parents[0] if x.parents and x.parents[0] in there else None
    children.setdefault(parent, []).append(x.number)
  last: dict[int, int] = {}  # number -> the youngest of its family
  for number in sorted(there, reverse=True):
    last[number] = max((last[child] for child in children.get(number, ())), default=number)
  rows: dict[int, int] = {}
  lowest = row = -1
  # No recursion: a line of descent may be longer than Python's stack.
  waiting = [(founder, True) for founder in sorted(children.get(None, ()), reverse=True)]
  while waiting:
    number, begins_row = waiting.pop()
    if begins_row:
      lowest = row = lowest + 1
    rows[number] = row
    mine = sorted(children.get(number, ()), key=lambda child: last[child])
    # The one that goes on is looked at first, then the youngest branches, nearest to it.
    waiting += [(child, True) for child in sorted(mine[:-1])]
    waiting += [(child, False) for child in mine[-1:]]
  return rows


def ancestors(individuals: Sequence[Individual], number: int) -> list[int]:
  """The line of first parents that ends with an individual, the oldest first."""
  of = {x.number: x for x in individuals}
  line = [number]
  while of[line[0]].parents and of[line[0]].parents[0] in of:
    line.insert(0, of[line[0]].parents[0])
  return line


@styled
def family_tree(individuals: Sequence[Individual], stages: Sequence[Stage]) -> Any:
  """The picture of some individuals, whose scores are accuracies from 0 to 1."""
  rows = rows_of(individuals)
  of = {x.number: x for x in individuals}
  count, depth = len(of), 1 + max(rows.values(), default=0)
  width = float(np.clip(0.06 * count, *_WIDTH))
  made, axes = figure(width, float(np.clip(1.4 + 0.11 * depth, *_HEIGHT)))
  best = best_of(individuals)
  line = ancestors(individuals, best.number) if best else []
  size = float(np.clip(3000 / max(count, 1), 18, 60))
  for x in individuals:
    for index, parent in enumerate(x.parents):
      if parent not in rows:
        continue
      if index:
        places = [(parent, rows[parent]), (x.number, rows[x.number])]
        look: dict[str, Any] = {'linestyle': ':', 'linewidth': 0.8, 'alpha': 0.55}
      else:
        row = rows[parent]
        places = [(parent, row), (x.number, row), (x.number, rows[x.number])]
        on_line = x.number in line
        look = {'linewidth': 2.6 if on_line else 0.9, 'alpha': 1.0 if on_line else 0.6}
        look |= {'color': TRAIN, 'zorder': 1.5} if on_line else {}
      axes.plot(*zip(*places, strict=True), **{'color': INK, 'zorder': 1, **look})
  scores = [100 * x.score for x in individuals if x.score is not None]
  shown = None
  for origin, mark in _MARKS.items():
    kind = [x for x in individuals if x.origin == origin and x.score is not None]
    if kind:
      shown = axes.scatter(
        [x.number for x in kind],
        [rows[x.number] for x in kind],
        c=[100 * x.score for x in kind if x.score is not None],
        **{'cmap': 'viridis', 'vmin': min(scores), 'vmax': max(scores), 's': size, 'marker': mark},
        **{'edgecolors': INK, 'linewidths': 0.5, 'zorder': 2},
      )
  without = [x for x in individuals if x.score is None]
  axes.scatter(
    [x.number for x in without],
    [rows[x.number] for x in without],
    **{'marker': 'x', 's': 0.6 * size, 'color': INK, 'linewidths': 0.8, 'zorder': 2},
  )
  if best is not None:
    axes.scatter(
      [best.number],
      [rows[best.number]],
      **{'marker': 'o', 's': 5 * size, 'facecolors': 'none', 'edgecolors': TRAIN},
      **{'linewidths': 2.2, 'zorder': 3},
    )
  marked = -count
  for x in sorted(individuals, key=lambda x: x.number):
    # On the line of the best, where there is room after the number before.
    room = x.number in line and x.number - marked > 0.45 * count / width
    if count <= _NUMBERED or room or x is best:
      marked = x.number
      axes.annotate(
        str(x.number),
        (x.number, rows[x.number]),
        (0, 5),
        textcoords='offset points',
        **{'ha': 'center', 'fontsize': 8, 'zorder': 4},
      )
  _show_stages(axes, individuals, stages)
  axes.set_ylim(depth - 0.2, -1.4)
  axes.set_yticks([])
  axes.spines['left'].set_visible(False)
  axes.set_xlabel('trial')
  axes.xaxis.get_major_locator().set_params(integer=True)
  if shown is not None:
    bar = made.colorbar(shown, ax=axes, fraction=0.05, pad=0.01, aspect=30)
    bar.set_label('validation accuracy (%)')
    bar.outline.set_visible(False)
  _explain(made, individuals, bool(line), size)
  return made


def _show_stages(axes: Any, individuals: Sequence[Individual], stages: Sequence[Stage]) -> None:
  """A line where each stage begins, and how long its networks were trained."""
  for index, stage in enumerate(stages):
    numbers = [x.number for x in individuals if x.stage == index]
    if not numbers or len(stages) == 1:
      continue
    start = min(numbers) - 0.5
    if index:
      axes.axvline(start, color=OTHERS[0], linewidth=1, zorder=0)
    unit = 'epoch' if stage.epochs == 1 else 'epochs'
    axes.annotate(
      f' {stage.epochs:g} {unit}',
      (start, 1),
      xycoords=('data', 'axes fraction'),
      **{'va': 'bottom', 'fontsize': 9, 'color': OTHERS[0]},
    )


def _explain(made: Any, individuals: Sequence[Individual], has_best: bool, size: float) -> None:
  """The legend: the marks that are in the picture."""
  from matplotlib.lines import Line2D

  there = {x.origin for x in individuals if x.score is not None}
  of_one = bool(there & {MUTATED, VARIED})
  names = {
    FIRST: 'given at first',
    PROMOTED: 'trained longer',
    CROSSED: 'of two parents',
    DRAWN: 'drawn, or of one parent' if of_one else 'drawn',
  }
  handles = [
    Line2D([], [], linestyle='', marker=_MARKS[origin], color=INK, markersize=5, label=name)
    for origin, name in names.items()
    if origin in there or (origin == DRAWN and of_one)
  ]
  if any(x.score is None for x in individuals):
    handles.append(
      Line2D([], [], linestyle='', marker='x', color=INK, markersize=5, label='not measured')
    )
  if has_best:
    handles.append(Line2D([], [], color=TRAIN, linewidth=2.6, label='line of the best'))
  if handles:
    made.legend(handles=handles, loc='outside lower center', ncols=3, fontsize=9)
