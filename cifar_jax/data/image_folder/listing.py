"""Which files a folder of photographs holds, and what their folders say about them.

Two trees are understood: `train|validation|test/CLASS/...` and, without splits, `CLASS/...`. The
classes are in alphabetical order, as Keras has them.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping

from cifar_jax.errors import UserError

SUFFIXES = frozenset(
  ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff')
)
# Split -> the names under which its folder is found.
SPLITS: Mapping[str, tuple[str, ...]] = {
  'train': ('train', 'training'),
  'validation': ('validation', 'valid', 'val'),
  'test': ('test', 'testing'),
}


@dataclasses.dataclass(frozen=True)
class ImageFile:
  """A file that is said to be an image, and the number of its class."""

  path: pathlib.Path
  label: int


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a folder holds.

  Attributes:
    root: the folder.
    class_names: alphabetical; a file's label is a place in it.
    splits: 'train' and, where their folders exist, 'validation' and 'test'; each in the order of
      classes, then of paths.
    ignored: files in class folders whose suffix is not that of an image.
  """

  root: pathlib.Path
  class_names: tuple[str, ...]
  splits: Mapping[str, tuple[ImageFile, ...]]
  ignored: tuple[pathlib.Path, ...]

  @property
  def files(self) -> list[ImageFile]:
    """All images, split after split."""
    return [file for files in self.splits.values() for file in files]


def list_folder(root: pathlib.Path) -> Listing:
  """Lists a tree of images.

  Raises:
    UserError: it is neither of the two trees, a class folder cannot be read, or a split knows a
      class that the training images do not.
  """
  folders = _split_folders(root)
  class_names = tuple(folder.name for folder in _subfolders(folders['train']))
  if not class_names:
    hint = ''
    if any(entry.suffix.lower() in SUFFIXES for entry in root.iterdir()):
      hint = f'; its images lie side by side: see python -m cifar_jax data organize {root} OUT'
    raise UserError(
      f'--config.data.dir={root} holds no folder a class; expected train/CLASS/*.jpg or '
      f'CLASS/*.jpg in it{hint}'
    )
  splits: dict[str, tuple[ImageFile, ...]] = {}
  ignored: list[pathlib.Path] = []
  for split, folder in folders.items():
    unknown = {path.name for path in _subfolders(folder)} - set(class_names)
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
      f'{", ".join(f"*{suffix}" for suffix in sorted(SUFFIXES))}'
    )
  # A split whose folder is there but empty is as good as absent.
  splits = {split: files for split, files in splits.items() if files}
  return Listing(root, class_names, splits, tuple(ignored))


def _split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """The folder of each split; the root itself is 'train' where there are no splits."""
  if not root.is_dir():
    raise UserError(f'--config.data.dir={root} is no folder; give the one around the class folders')
  found = {
    split: root / name
    for split, names in SPLITS.items()
    for name in reversed(names)
    if (root / name).is_dir() and _subfolders(root / name)
  }
  # A class may be called 'train' as well: it has no folders inside.
  return found if 'train' in found else {'train': root}


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
  entries = (entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in '._')
  return sorted(entries, key=lambda entry: entry.name)


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """All files below a folder in the order of their paths, hidden ones left out; links are followed
  once.
  """
  if not folder.is_dir():
    return

  def refuse(error: OSError) -> None:
    raise UserError(f'{error.filename} cannot be read ({error.strerror}); correct its permissions')

  seen: set[str] = set()
  for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
    real = os.path.realpath(parent)
    if real in seen:
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
