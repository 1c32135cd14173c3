"""What images of the user's own show, as their folders or a table say it, against predictions."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from cifar_jax.analysis import scores
from cifar_jax.data.image_folder import columns as meaning
from cifar_jax.data.image_folder import table as tables
from cifar_jax.data.image_folder.split_folders import SUFFIXES
from cifar_jax.data.matching import Matching, match_classes, parse_renamed
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

_NAMED = 5


@dataclasses.dataclass(frozen=True)
class ImageLabels:
  """The labels of some images.

  Attributes:
    of_image: Name of the image -> the class of the network, or None for one that it lacks.
    matching: How the labels were found among the network's classes.
    class_names: The names of the network's classes.
    unused: How many lines of the table name none of the images.
  """

  of_image: Mapping[str, str | None]
  matching: Matching
  class_names: tuple[str, ...]
  unused: int = 0


def read(
  names: Sequence[str],
  table: str,
  class_names: Sequence[str],
  classes: str = '',
  skip_unknown: bool = False,
) -> ImageLabels:
  """Reads the labels of images, and finds them among the classes of a network.

  Args:
    names: The images, as `image_files.named` has them.
    table: The path of a CSV file of file and label; '' for the names of the images' folders.
    class_names: The names of the network's classes.
    classes: '--classes', as 'car=automobile'.
    skip_unknown: Whether images of classes that the network lacks are not counted.

  Raises:
    UserError: no image has a label, the table is none, or there are classes that the network lacks.
  """
  found, unused = _of_table(names, pathlib.Path(table)) if table else (_of_folders(names), 0)
  source = table or 'the folder of images'
  if not found:
    raise UserError(
      f'--labels: {source} says of no image what it shows'
      + ('' if table else '; give a CSV file of file and label, as --labels=labels.csv')
    )
  theirs = sorted(set(found.values()))
  renamed = parse_renamed(classes)
  matching = match_classes(theirs, class_names, source, renamed, skip_unknown)
  meant = {
    name: class_names[number] if number >= 0 else None
    for name, number in zip(theirs, matching.numbers, strict=True)
  }
  of_image = {name: meant[label] for name, label in found.items()}
  return ImageLabels(of_image, matching, tuple(class_names), unused)


def summary(labels: ImageLabels, predicted: Mapping[str, str]) -> list[str]:
  """Accuracy and a table of the classes: lines for people.

  Args:
    labels: The labels.
    predicted: Name of the image -> the most probable class, of all that could be used.
  """
  known = {name: label for name, label in labels.of_image.items() if label and name in predicted}
  number = {name: index for index, name in enumerate(labels.class_names)}
  truth = np.array([number[label] for label in known.values()], np.int64)
  answers = np.array([number[predicted[name]] for name in known], np.int64)
  matrix = scores.confusion(truth, answers, len(number))
  right, total = int(matrix.trace()), len(known)
  others = len(predicted) - total
  lines = [
    f'accuracy {100 * right / total:.2f} %: {right} of {total} images right'
    if total
    else 'no image with a label could be used',
    f'classes  {labels.matching}',
  ]
  if others:
    lines.append(f'{others} images without a label of the run are not counted')
  if labels.unused:
    lines.append(f'{labels.unused} lines of the table name none of the images')
  return [*lines, *(_class_lines(matrix, labels.class_names) if matrix.any() else ())]


def _class_lines(matrix: np.ndarray, class_names: Sequence[str]) -> list[str]:
  """A table of the classes in a confusion matrix, [true class, predicted class]."""
  present = np.flatnonzero(matrix.sum(0) + matrix.sum(1)).tolist()
  width = max(5, *(len(class_names[label]) for label in present))
  lines = [f'{"class":<{width}}  images   right  recall, %  precision, %  taken for']
  for label in present:
    row, of_class, as_class = matrix[label], int(matrix[label].sum()), int(matrix[:, label].sum())
    taken_for = collections.Counter(
      {class_names[other]: int(row[other]) for other in present if other != label and row[other]}
    )
    cells = [
      f'{class_names[label]:<{width}}',
      f'{of_class:>6}',
      f'{int(row[label]):>6}',
      f'{_percent(int(row[label]), of_class):>9}',
      f'{_percent(int(row[label]), as_class):>12}',
      listed([f'{name} {count}' for name, count in taken_for.most_common()], 3),
    ]
    lines.append('  '.join(cells).rstrip())
  return lines


def _percent(count: int, of: int) -> str:
  return f'{100 * count / of:.2f}' if of else '-'


def _of_folders(names: Sequence[str]) -> dict[str, str]:
  """The name of the folder that each file is in."""
  found = {}
  for name in names:
    if name != '-' and '://' not in name and (folder := pathlib.Path(name).absolute().parent.name):
      found[name] = folder
  return found


def _of_table(names: Sequence[str], path: pathlib.Path) -> tuple[dict[str, str], int]:
  """The labels that a table has for images, and how many of its lines name none of them.

  A line means the image whose path ends as it says, or, where it says no suffix, the same without.
  """
  if path.is_dir():
    raise UserError(
      f'--labels={path} is a folder; write --labels after the images for the names of their '
      'folders, or --labels=FILE.csv'
    )
  by_last: dict[str, list[tuple[str, ...]]] = collections.defaultdict(list)
  images = {_parts(name): name for name in names}
  for parts in images:
    by_last[parts[-1]].append(parts)
    if pathlib.PurePath(parts[-1]).suffix.lower() in SUFFIXES:
      by_last[pathlib.PurePath(parts[-1]).stem].append(parts)

  def meant_by(cell: str) -> list[tuple[str, ...]]:
    wanted = _parts(cell)
    found = by_last.get(wanted[-1], ()) if wanted else ()
    before = wanted[:-1]
    return [parts for parts in found if not before or parts[:-1][-len(before) :] == before]

  table = tables.read(
    path, meaning.is_header, lambda cells: len(cells) == 2 and bool(meant_by(cells[0]))
  )
  columns = meaning.columns_of(table)
  if columns.label is None:
    raise UserError(
      f'{path} has a column for each label; give a table with one column of labels, as file,label'
    )
  found: dict[str, tuple[str, int]] = {}
  unused = 0
  labels = meaning.written(table, columns.label, False)
  for row, line, (label,) in zip(table.rows, table.lines, labels, strict=True):
    meant = meant_by(row[columns.file])
    unused += not meant
    if len(meant) > 1:
      both = ' or '.join(images[parts] for parts in meant[:2])
      raise UserError(
        f'{path}, line {line}: {row[columns.file]!r} may be {both}; write its folder too'
      )
    for parts in meant:
      other, where = found.setdefault(images[parts], (label, line))
      if other != label:
        raise UserError(
          f'{path}, line {line}: {images[parts]} is {label!r}, but {other!r} in line {where}; '
          'correct one of them'
        )
  return {name: label for name, (label, _) in found.items()}, unused


def _parts(name: str) -> tuple[str, ...]:
  """The parts of a path or an address, without what leads up from the current folder."""
  path = name if '://' in name else os.path.normpath(name.replace('\\', '/'))
  return tuple(part for part in path.split('/') if part not in ('', '.', '..'))
