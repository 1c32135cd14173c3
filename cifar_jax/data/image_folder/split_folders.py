"""The folders of splits in a tree of images, by their names, which archives spell in many ways."""

import pathlib
import re
from collections.abc import Mapping, Sequence

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

SUFFIXES = frozenset(
  ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff')
)
# Split -> the names under which its folder is found, in any case.
SPLITS: Mapping[str, tuple[str, ...]] = {
  'train': ('train', 'training', 'trn'),
  'validation': ('validation', 'validate', 'valid', 'val', 'vld', 'dev', 'evaluation', 'eval'),
  'test': ('test', 'testing', 'tests', 'tst'),
}
_OF_SPLITS = '(sets?|data|dataset|split|images?|imgs?)'
# 'seg_train', 'test1' or 'train-images'; what is before the word is the first group.
_LIKE_A_SPLIT = {
  split: re.compile(
    rf'(.*[_\-. ])?({"|".join(names)})([_\-. ]?{_OF_SPLITS})?[_\-. ]?\d*', re.IGNORECASE
  )
  for split, names in SPLITS.items()
}
# What systems and archives leave behind.
_NO_CLASSES = ('__MACOSX', '__pycache__', '@eaDir')
_DEEPEST = 4  # folders that hold a single folder, one in the other
_NAMED = 8  # folders named in a message; the rest are counted


def home_of(root: pathlib.Path) -> pathlib.Path:
  """The folder around the splits or classes: the root, or what an archive put between."""
  for _ in range(_DEEPEST):
    inside = subfolders(root)
    alone = len(inside) == 1 and not holds_images(root)
    if not alone or _split_named(inside[0].name) or not subfolders(inside[0]):
      break
    root = inside[0]
  return root


def split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """The folder of each split; the root itself is 'train' where there are no splits.

  Raises:
    UserError: two folders are named like one split, or there are splits, but not as they should be.
  """
  inside = subfolders(root)
  exact: dict[str, list[pathlib.Path]] = {}
  for folder in inside:
    if split := _split_named(folder.name):
      exact.setdefault(split, []).append(folder)
  like = _like_splits(inside)
  found: dict[str, pathlib.Path] = {}
  for split in SPLITS:
    # A class may be called 'train' as well: it has no folders inside.
    plain, decorated = (
      [folder for folder in named.get(split, ()) if subfolders(folder)] for named in (exact, like)
    )
    holding = plain or decorated
    if len(holding) > 1:
      raise UserError(
        f'{holding[0]} and {holding[1]} are both named like the {split} split; rename one of them'
      )
    if holding:
      found[split] = holding[0]
  if 'train' in found:
    return found
  _refuse_split_names(root, inside)
  return {'train': root}


def inner_folders(outer: Mapping[str, pathlib.Path]) -> dict[str, pathlib.Path]:
  """The folders of splits in which the classes are: 'train/train' where an archive repeats it.

  A split that is only such a folder of images without classes, as Kaggle's 'test/test', is left
  out.
  """
  folders: dict[str, pathlib.Path] = {}
  classes: set[str] = set()
  for split, folder in outer.items():
    for _ in range(_DEEPEST):
      inside = subfolders(folder)
      if len(inside) != 1 or inside[0].name in classes or not subfolders(inside[0]):
        break
      folder = inside[0]
    if split == 'train':
      classes = {path.name for path in inside}
    elif [path.name for path in inside] == [folder.name] and folder.name not in classes:
      continue
    folders[split] = folder
  return folders


def _refuse_split_names(root: pathlib.Path, inside: Sequence[pathlib.Path]) -> None:
  """Raises UserError where folders that would be classes are splits by their names."""
  if like := _like_splits(inside):
    flat = next((folder for folder in like.get('train', ()) if holds_images(folder)), None)
    hint = f'; images lie side by side in {flat}: {how_to_organize(flat)}' if flat else ''
    raise UserError(
      f'--config.data.dir={root} holds {_names(inside)}, which are named like splits, but no '
      f'folder train with class folders in it; expected train/CLASS/*.jpg, and validation and test '
      f'beside it{hint}'
    )
  shared = _shared_subfolders(inside)
  if shared and (named := [folder.name for folder in inside if _split_named(folder.name)]):
    raise UserError(
      f'--config.data.dir={root} holds {_names(inside)}, each with {listed(shared, _NAMED)} in it, '
      f'and {named[0]} is the name of a split; call the others train, validation and test, too'
    )
  by_class = [{_split_named(inner.name) for inner in subfolders(folder)} for folder in inside]
  if len(inside) > 1 and all(len(splits - {None}) > 1 for splits in by_class):
    raise UserError(
      f'--config.data.dir={root} holds splits inside of its classes, as in {inside[0]}; expected '
      'train/CLASS/*.jpg and test/CLASS/*.jpg'
    )


def _shared_subfolders(inside: Sequence[pathlib.Path]) -> list[str]:
  """The names of the folders that are in each of several, where these hold nothing else; [] where
  there are not two of either, or one holds others, or images.
  """
  if len(inside) < 2 or any(holds_images(folder) for folder in inside):
    return []
  first, *others = ([inner.name for inner in subfolders(folder)] for folder in inside)
  return first if len(first) > 1 and all(names == first for names in others) else []


def notes_on_classes(home: pathlib.Path) -> tuple[str, ...]:
  """What to say of classes that might be splits by a name that nobody knows."""
  inside = subfolders(home)
  if not (shared := _shared_subfolders(inside)):
    return ()
  return (
    f'the classes {_names(inside)} all hold {listed(shared, _NAMED)}; if these are the classes, '
    'call the folders around them train, validation and test',
  )


def _like_splits(inside: Sequence[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
  """Split -> folders named like it, where that is more than a chance: different splits that have
  the words before them in common with all folders, as in seg_train and seg_test, or have none.

  Classes may be called 'bullet_train' and 'freight_train', or 'train', 'car' and 'flight test'.
  """
  named: dict[str, dict[str, list[pathlib.Path]]] = {}
  for folder in inside:
    for split, pattern in _LIKE_A_SPLIT.items():
      if match := pattern.fullmatch(folder.name):
        before = (match[1] or '').lower()
        named.setdefault(before, {}).setdefault(split, []).append(folder)
  for before, like in named.items():
    if before:
      alike = all(folder.name.lower().startswith(before) for folder in inside)
    else:
      alike = 'train' in like or sum(map(len, like.values())) == len(inside)
    if alike and (len(like) > 1 or (len(inside) == 1 and not before)):
      return like
  return {}


def _split_named(name: str) -> str | None:
  return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def holds_images(folder: pathlib.Path) -> bool:
  """Whether there are images directly in a folder, by their suffixes."""
  return any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())


def how_to_organize(folder: pathlib.Path) -> str:
  """The command that makes class folders of images side by side."""
  return f'python -m cifar_jax data organize {folder} OUT'


def _names(folders: Sequence[pathlib.Path]) -> str:
  return listed([folder.name for folder in folders], _NAMED)


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
  """The folders in a folder by their names, without hidden ones and what systems leave behind.

  Raises:
    UserError: it cannot be read.
  """
  try:
    entries = [
      entry
      for entry in folder.iterdir()
      if entry.name[0] != '.' and entry.name not in _NO_CLASSES and entry.is_dir()
    ]
  except OSError as error:
    raise UserError(f'{folder} cannot be read ({error.strerror}); correct it') from None
  return sorted(entries, key=lambda entry: entry.name)
