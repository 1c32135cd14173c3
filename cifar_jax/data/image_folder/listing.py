"""Which files a folder of images holds, and what their folders say about them.

Two trees are understood: `train|validation|test/CLASS/...` and, without splits, `CLASS/...`. The
classes are in alphabetical order, as Keras has them. Splits may be spelled as archives spell them,
`seg_train` and `seg_test` or `Training Set` and `Test Set`, and either tree may lie in a folder
that holds nothing else, as `train/train/CLASS`. What looks like splits but is none of this is
refused with what was found: taken for classes it would train, and mean nothing.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cifar_jax.data.image_folder.split_folders import (
  SPLITS,
  SUFFIXES,
  holds_images,
  home_of,
  how_to_organize,
  inner_folders,
  notes_on_classes,
  split_folders,
  subfolders,
)
from cifar_jax.utils.errors import UserError

_OF_PHONES = frozenset(('.heic', '.heif', '.avif'))  # which Pillow does not read by itself


@dataclasses.dataclass(frozen=True)
class ImageFile:
  """A file that is said to be an image.

  Attributes:
    label: The number of its class; those of all its classes where an image may have several.
    group: What it belongs to, see `Split.groups`; '' where nobody said it.
  """

  path: pathlib.Path
  label: int | tuple[int, ...]
  group: str = ''


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a folder holds.

  Attributes:
    root: The folder.
    class_names: The names of the classes in alphabetical order; a file's label is an index in it.
    splits: 'train' and, where their folders exist, 'validation' and 'test'; each in the order of
      classes, then of paths.
    ignored: Files in class folders whose suffix is not that of an image.
    passed_over: Names of folders beside the splits that are not used.
    multi_label: Whether an image may have several labels or none.
    notes: Sentences on what else was found, for people.
    table: The table that names the images, or the folder of several; None where folders do.
    folders: The folder of each split, in which those of the classes are.
  """

  root: pathlib.Path
  class_names: tuple[str, ...]
  splits: Mapping[str, tuple[ImageFile, ...]]
  ignored: tuple[pathlib.Path, ...]
  passed_over: tuple[str, ...] = ()
  multi_label: bool = False
  notes: tuple[str, ...] = ()
  table: pathlib.Path | None = None
  folders: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)

  @property
  def renamed(self) -> dict[str, pathlib.Path]:
    """The splits whose folder is not called by a plain name in the root -> that folder in it."""
    inside = {split: folder.relative_to(self.root) for split, folder in self.folders.items()}
    plain = (*SPLITS['train'], *SPLITS['validation'], *SPLITS['test'], '.')
    return {split: path for split, path in inside.items() if str(path).lower() not in plain}

  @property
  def files(self) -> list[ImageFile]:
    """All images, split after split."""
    return [file for files in self.splits.values() for file in files]

  def labels_of(self, files: Sequence[ImageFile]) -> np.ndarray:
    """Their labels as `Split` has them."""
    if not self.multi_label:
      return np.array([file.label for file in files], np.int32)
    labels = np.zeros((len(files), len(self.class_names)), np.uint8)
    for row, file in zip(labels, files, strict=True):
      row[list(file.label)] = 1  # type: ignore[arg-type]
    return labels

  def groups_of(self, files: Sequence[ImageFile]) -> np.ndarray | None:
    """Their groups as `Split` has them."""
    groups = [file.group for file in files]
    return np.array(groups) if any(groups) else None


def list_folder(root: pathlib.Path) -> Listing:
  """Lists a tree of images.

  Raises:
    UserError: it is neither of the two trees, there are fewer than two classes, a class folder
      cannot be read, or a split knows a class that the training images do not.
  """
  if not root.is_dir():
    hint = ', or set --config.data.name=csv' if root.suffix.lower() in ('.csv', '.tsv') else ''
    raise UserError(
      f'--config.data.dir={root} is no folder; give the one around the class folders{hint}'
    )
  home = home_of(root)
  outer = split_folders(home)
  folders = inner_folders(outer)
  class_names = tuple(folder.name for folder in subfolders(folders['train']))
  _check_classes(root, folders['train'], class_names)
  splits: dict[str, tuple[ImageFile, ...]] = {}
  ignored: list[pathlib.Path] = []
  for split, folder in folders.items():
    unknown = {path.name for path in subfolders(folder)} - set(class_names)
    if unknown:
      raise UserError(
        f'{folder} has the classes {", ".join(sorted(unknown))}, which {folders["train"]} has not; '
        'give every split the same class folders'
      )
    files = []
    for label, name in enumerate(class_names):
      for path in _walk(folder / name):
        if path.suffix.lower() in SUFFIXES:
          files.append(ImageFile(path, label))
        else:
          ignored.append(path)
    splits[split] = tuple(files)
  if not splits['train']:
    raise UserError(
      f'{folders["train"]} holds class folders but no image in them; expected files named '
      f'{", ".join(f"*{suffix}" for suffix in sorted(SUFFIXES))}{to_convert(ignored)}'
    )
  # A split whose folder is there but empty is as good as absent.
  splits = {split: files for split, files in splits.items() if files}
  used = {outer[split].name for split in folders}
  beside = () if outer['train'] == home else tuple(folder.name for folder in subfolders(home))
  passed_over = tuple(name for name in beside if name not in used)
  notes = notes_on_classes(home) if outer['train'] == home else ()
  folders = {split: folders[split] for split in splits}
  return Listing(
    root, class_names, splits, tuple(ignored), passed_over, notes=notes, folders=folders
  )


def to_convert(ignored: Sequence[pathlib.Path]) -> str:
  """What to do about the pictures of phones among files that are not used; '' if there are none."""
  found = sorted({path.suffix.lower() for path in ignored} & _OF_PHONES)
  return f'; {", ".join(found)} files have to be converted to JPEG first' if found else ''


def _check_classes(root: pathlib.Path, train: pathlib.Path, class_names: Sequence[str]) -> None:
  """Raises UserError unless there are two classes or more."""
  if len(class_names) > 1:
    return
  if not class_names:
    hint = (
      f'; its images lie side by side: see {how_to_organize(root)}' if holds_images(root) else ''
    )
    raise UserError(
      f'--config.data.dir={root} has no folder for each class; expected train/CLASS/*.jpg or '
      f'CLASS/*.jpg in it{hint}'
    )
  raise UserError(
    f'{train} holds a single class, {class_names[0]}, from which there is nothing to tell apart; '
    'give it a folder for each of two classes or more'
  )


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """All files below a folder in the order of their paths, hidden ones left out; links are followed
  once.
  """
  if not folder.is_dir():
    return

  def refuse(error: OSError) -> None:
    raise UserError(f'{error.filename} cannot be read ({error.strerror}); correct its permissions')

  seen: set[str] = set()
  home = os.path.join(os.path.realpath(folder), '')
  for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
    real = os.path.realpath(parent)
    # A link to a folder around this one would give its class to the images of all others.
    if real in seen or (home.startswith(os.path.join(real, '')) and seen):
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(name for name in folders if not is_left_out(name))
    yield from (pathlib.Path(parent, name) for name in sorted(names) if not is_left_out(name))


def is_left_out(name: str) -> bool:
  """Whether a name is that of a hidden file, or of one that Windows and macOS leave behind, as
  'Thumbs.db' and '._x.jpg'.
  """
  return name.startswith('.') or name == 'Thumbs.db'
