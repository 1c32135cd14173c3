"""Trees of folders, as users have them."""

import os
import pathlib

import pytest

from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.errors import UserError


def touch(root: pathlib.Path, *paths: str) -> pathlib.Path:
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b'x')
  return root


def named(listing, split: str) -> list[tuple[str, int]]:
  return [(str(f.path.relative_to(listing.root)), f.label) for f in listing.splits[split]]


def test_splits_and_alphabetical_classes(tmp_path) -> None:
  listing = list_folder(
    touch(tmp_path, 'train/dogs/b.jpg', 'train/cats/z.PNG', 'train/cats/a.jpg', 'val/dogs/c.tif')
  )
  assert listing.class_names == ('cats', 'dogs')
  assert named(listing, 'train') == [
    ('train/cats/a.jpg', 0),
    ('train/cats/z.PNG', 0),
    ('train/dogs/b.jpg', 1),
  ]
  assert named(listing, 'validation') == [('val/dogs/c.tif', 1)]
  assert set(listing.splits) == {'train', 'validation'}


def test_classes_without_splits(tmp_path) -> None:
  listing = list_folder(touch(tmp_path, 'b/1.jpg', 'a/2.webp', 'a/deep/er/0.gif'))
  assert named(listing, 'train') == [('a/2.webp', 0), ('a/deep/er/0.gif', 0), ('b/1.jpg', 1)]


def test_a_class_may_be_called_train(tmp_path) -> None:
  listing = list_folder(touch(tmp_path, 'train/1.jpg', 'bus/2.jpg'))
  assert listing.class_names == ('bus', 'train')


def test_other_files(tmp_path) -> None:
  """What systems leave behind is passed over, anything else is counted."""
  listing = list_folder(
    touch(tmp_path, 'a/1.jpg', 'a/.DS_Store', 'a/._1.jpg', 'a/Thumbs.db', 'a/notes.txt', '.git/x')
  )
  assert named(listing, 'train') == [('a/1.jpg', 0)]
  assert [path.name for path in listing.ignored] == ['notes.txt']


def test_a_link_in_a_circle_ends(tmp_path) -> None:
  touch(tmp_path, 'a/1.jpg', 'b/2.jpg')
  os.symlink(tmp_path / 'a', tmp_path / 'a' / 'again')
  assert [name for name, _ in named(list_folder(tmp_path), 'train')] == ['a/1.jpg', 'b/2.jpg']


@pytest.mark.parametrize(
  ('paths', 'message'),
  [
    ((), r'holds no folder a class; expected train/CLASS/\*\.jpg or CLASS'),
    (('1.jpg', '2.jpg'), r'side by side: see python -m cifar_jax data organize'),
    (('train/a/1.jpg', 'test/b/1.jpg'), r'test has the classes b, which .*train has not'),
    (('a/1.txt',), r'no image in them; expected files named \*\.bmp'),
  ],
)
def test_other_trees(tmp_path, paths, message) -> None:
  with pytest.raises(UserError, match=message):
    list_folder(touch(tmp_path, *paths))


def test_a_file_is_no_folder(tmp_path) -> None:
  with pytest.raises(UserError, match='is no folder'):
    list_folder(touch(tmp_path, 'x.jpg') / 'x.jpg')
