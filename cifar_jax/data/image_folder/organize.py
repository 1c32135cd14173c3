"""A tree of class folders out of a folder in which all images lie side by side (D3).

What it makes is listed in a file of its own, so that it can be made anew: only files on that list
are ever removed.
"""

import dataclasses
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from cifar_jax.data.image_folder.split_folders import SUFFIXES
from cifar_jax.utils.errors import UserError

_MADE = '.made_by_organize'


@dataclasses.dataclass(frozen=True)
class Organized:
  """What was made.

  Attributes:
    counts: The number of images by split and class, as counts['train']['cats'].
    unmatched: The images that no pattern, or more than one, fits.
    left_out: How many images fit but were more than asked for.
    removed: How many files of an earlier call were removed first.
  """

  counts: Mapping[str, Mapping[str, int]]
  unmatched: tuple[str, ...]
  left_out: int
  removed: int


def organize(
  flat: pathlib.Path,
  out: pathlib.Path,
  patterns: Mapping[str, str],
  count: int = 0,
  ratio: float = 0.2,
  seed: int = 0,
  how: str = 'copy',
) -> Organized:
  """Builds OUT/train/CLASS and OUT/validation/CLASS.

  Args:
    flat: The folder with the images; those in folders below it are not looked at.
    out: The folder of the new tree, which may exist already.
    patterns: For each class, the regular expression that is searched for in the names of files,
      whatever their case.
    count: How many images are drawn in all; 0 for all there are.
    ratio: The share of them that is for validation.
    seed: The seed of the draw and of the split.
    how: 'copy', 'link' (hard links: the same disk) or 'symlink'.

  Raises:
    UserError: no such folder, a wrong pattern, no image of a class, a file in the way, a full disk.
  """
  if not flat.is_dir():
    raise UserError(f'{flat} is no folder; give the one with the images')
  if not 0 < ratio < 1:
    raise UserError(f'--ratio={ratio} must be between 0 and 1: the share for validation')
  by_class, unmatched = _match(flat, patterns)
  found = sorted((path, name) for name, paths in by_class.items() for path in paths)
  if count > len(found):
    raise UserError(f'--count={count} is more than the {len(found)} images in {flat}')
  order = np.random.default_rng(seed).permutation(len(found))[: count or len(found)]
  validation = round(ratio * len(order))
  targets = {}
  for position, number in enumerate(order):
    path, name = found[number]
    split = 'validation' if position < validation else 'train'
    targets[pathlib.Path(split, name, path.name)] = path
  counts = {split: dict.fromkeys(patterns, 0) for split in ('train', 'validation')}
  for target in targets:
    counts[target.parts[0]][target.parts[1]] += 1
  for split, classes in counts.items():
    for name, number in classes.items():
      if not number:
        raise UserError(
          f'{split}/{name} would be empty; choose a larger --count or another --ratio'
        )
  try:
    earlier = _made_earlier(out)
    in_the_way = [t for t in targets if os.path.lexists(out / t) and t not in earlier]
    if in_the_way:
      raise UserError(
        f'{out / in_the_way[0]} exists already and was not made by this command, as are '
        f'{len(in_the_way) - 1} others; nothing was changed: choose another folder'
      )
    removed = _remove(out, earlier)
    _place(out, targets, how)
  except OSError as error:
    raise UserError(
      f'{error.filename2 or error.filename or out} cannot be written ({error.strerror}); '
      'what was made so far is removed by the next call'
    ) from None
  return Organized(counts, tuple(unmatched), len(found) - len(order), removed)


def _match(
  flat: pathlib.Path, patterns: Mapping[str, str]
) -> tuple[dict[str, list[pathlib.Path]], list[str]]:
  """The images of each class, and the names of those that fit none or several."""
  compiled = {}
  for name, pattern in patterns.items():
    if not name or name[0] in '._' or pathlib.PurePath(name).name != name:
      raise UserError(f'--class {name}={pattern}: {name!r} cannot be the name of a class folder')
    try:
      compiled[name] = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
      raise UserError(f'--class {name}={pattern}: no regular expression ({error})') from None
  images = sorted(
    path
    for path in flat.iterdir()
    if path.suffix.lower() in SUFFIXES and path.is_file() and path.name[0] != '.'
  )
  by_class: dict[str, list[pathlib.Path]] = {name: [] for name in patterns}
  unmatched = []
  for path in images:
    fitting = [name for name, pattern in compiled.items() if pattern.search(path.name)]
    if len(fitting) == 1:
      by_class[fitting[0]].append(path)
    else:
      unmatched.append(path.name)
  for name, paths in by_class.items():
    if not paths:
      raise UserError(
        f'--class {name}={patterns[name]} fits none of the {len(images)} images in {flat}'
        + (f', such as {images[0].name}' if images else '')
        + ' (or another class fits the same ones)'
      )
  return by_class, unmatched


def _made_earlier(out: pathlib.Path) -> set[pathlib.Path]:
  """What an earlier call made below `out`, from its list."""
  record = out / _MADE
  if not record.is_file():
    return set()
  names = record.read_text('utf-8', 'surrogateescape').split('\0')
  paths = {pathlib.Path(name) for name in names if name}
  # A list that somebody has written into may name other places.
  return {path for path in paths if not path.is_absolute() and '..' not in path.parts}


def _remove(out: pathlib.Path, made: set[pathlib.Path]) -> int:
  """Removes these files, and the folders around them that are empty then; returns how many."""
  removed = 0
  for path in made:
    if os.path.lexists(out / path) and not (out / path).is_dir():
      (out / path).unlink()
      removed += 1
  folders = {folder for path in made for folder in path.parents} - {pathlib.Path()}
  for folder in sorted(folders, key=lambda path: -len(path.parts)):
    if (out / folder).is_dir() and not any((out / folder).iterdir()):
      (out / folder).rmdir()
  return removed


def _place(out: pathlib.Path, targets: Mapping[pathlib.Path, pathlib.Path], how: str) -> None:
  out.mkdir(parents=True, exist_ok=True)
  # The list is written first: killed half-way, the next call still knows what may be removed.
  names = '\0'.join(str(target) for target in targets)
  (out / _MADE).write_text(names, 'utf-8', 'surrogateescape')
  for folder in sorted({target.parent for target in targets}):
    (out / folder).mkdir(parents=True, exist_ok=True)
  for target, source in tqdm(targets.items(), desc=how, unit='image', disable=None):
    if how == 'copy':
      shutil.copy2(source, out / target)
    elif how == 'link':
      os.link(source, out / target)
    else:
      os.symlink(source.resolve(), out / target)


def read_patterns(words: Sequence[str]) -> dict[str, str]:
  """'cats=cat' and so on to {'cats': 'cat'}.

  Raises:
    UserError: a word is not of that form, or a class is named twice.
  """
  patterns: dict[str, str] = {}
  for word in words:
    name, equals, pattern = word.partition('=')
    if not equals or not pattern or name in patterns:
      raise UserError(f'--class {word}: write each class once, as --class cats=cat')
    patterns[name] = pattern
  return patterns
