"""Trees of folders, as users have them."""

import os
import pathlib

import pytest

from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.utils.errors import UserError


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
    touch(
      touch(tmp_path, 'a/1.jpg', 'b/1.jpg', '.git/x'),
      *('a/.DS_Store', 'a/._1.jpg', 'a/Thumbs.db', 'a/notes.txt'),
    )
  )
  assert named(listing, 'train') == [('a/1.jpg', 0), ('b/1.jpg', 1)]
  assert [path.name for path in listing.ignored] == ['notes.txt']


def test_pictures_of_phones_have_to_be_converted(tmp_path) -> None:
  with pytest.raises(UserError, match=r'no image in them.*; \.heic files have to be converted'):
    list_folder(touch(tmp_path, 'a/IMG_1.HEIC', 'b/IMG_2.HEIC', 'b/notes.txt'))


def test_a_link_in_a_circle_ends(tmp_path) -> None:
  touch(tmp_path, 'a/1.jpg', 'b/2.jpg')
  os.symlink(tmp_path / 'a', tmp_path / 'a' / 'again')
  assert [name for name, _ in named(list_folder(tmp_path), 'train')] == ['a/1.jpg', 'b/2.jpg']


@pytest.mark.parametrize(
  ('train', 'validation', 'test'),
  [
    ('Train', 'VAL', 'Test'),
    ('TRAINING', 'Valid', 'testing'),
    ('training', 'validation', 'TEST'),
    ('train', 'Dev', 'Testing'),
    ('trn', 'vld', 'tst'),
  ],
)
def test_split_names_in_any_case_and_usual_spelling(tmp_path, train, validation, test) -> None:
  names = [f'{split}/{name}/1.jpg' for split in (train, validation, test) for name in 'ab']
  listing = list_folder(touch(tmp_path, *names))
  assert listing.class_names == ('a', 'b')
  for split, folder in (('train', train), ('validation', validation), ('test', test)):
    assert named(listing, split) == [(f'{folder}/a/1.jpg', 0), (f'{folder}/b/1.jpg', 1)]
  assert not listing.passed_over


@pytest.mark.parametrize(
  ('train', 'validation', 'test', 'other'),
  [
    ('train_set', 'val_set', 'test_set', ''),
    ('Training Set', 'Validation Set', 'Test Set', ''),
    ('train-images', 'dev-images', 'test-images', ''),
    ('trainset', 'evalset', 'testset', ''),
    ('training', 'eval', 'tests', ''),
    ('train', 'evaluation', 'test1', ''),
    ('train', 'val', 'test_data', ''),
    ('seg_train/seg_train', 'seg_val', 'seg_test/seg_test', 'seg_pred'),
    ('archive/train', 'archive/valid', 'archive/test', ''),
    ('x/data/training_set/training_set', 'x/data/dev', 'x/data/test_set/test_set', ''),
  ],
)
def test_split_names_of_archives(tmp_path, train, validation, test, other) -> None:
  names = [f'{split}/{name}/1.jpg' for split in (train, validation, test) for name in 'ab']
  listing = list_folder(touch(tmp_path, *names, *([f'{other}/1.jpg'] if other else [])))
  assert listing.class_names == ('a', 'b')
  for split, folder in (('train', train), ('validation', validation), ('test', test)):
    assert named(listing, split) == [(f'{folder}/a/1.jpg', 0), (f'{folder}/b/1.jpg', 1)]
    assert listing.folders[split] == tmp_path / folder
  assert listing.passed_over == ((other,) if other else ())
  assert ('train' in listing.renamed) == (train not in ('train', 'training'))


def test_classes_in_a_folder_of_an_archive(tmp_path) -> None:
  listing = list_folder(touch(tmp_path, 'x/y/a/1.jpg', 'x/y/b/2.jpg', '__MACOSX/x/1.jpg'))
  assert named(listing, 'train') == [('x/y/a/1.jpg', 0), ('x/y/b/2.jpg', 1)]
  assert not listing.passed_over


def test_a_test_split_without_classes_is_passed_over(tmp_path) -> None:
  """As in archives of competitions, whose test images have no labels."""
  paths = ('train/train/a/1.jpg', 'train/train/b/1.jpg', 'test/test/1.jpg')
  listing = list_folder(touch(tmp_path, *paths))
  assert set(listing.splits) == {'train'}
  assert listing.passed_over == ('test',)


def test_a_split_of_one_class_with_folders_in_it_keeps_its_class(tmp_path) -> None:
  paths = ('train/a/deep/1.jpg', 'train/b/1.jpg', 'test/a/deep/2.jpg')
  assert named(list_folder(touch(tmp_path, *paths)), 'test') == [('test/a/deep/2.jpg', 0)]


def test_classes_named_otherwise_are_classes(tmp_path) -> None:
  """With an underscore, and with the words of splits inside of theirs."""
  listing = list_folder(
    touch(tmp_path, '_other/1.jpg', 'test_tube/1.jpg', 'trainer/1.jpg', '__MACOSX/a/1.jpg')
  )
  assert listing.class_names == ('_other', 'test_tube', 'trainer')


@pytest.mark.parametrize(
  'names',
  [
    ('negative_test', 'positive_test'),
    ('bullet_train', 'freight_train'),
    ('car', 'flight test', 'train'),
    ('flight_test', 'steam_train'),
    ('blood test', 'crash-test', 'Testing'),
    ('dev', 'ops'),
  ],
)
def test_classes_with_words_of_splits_in_their_names(tmp_path, names) -> None:
  """One split alone, or different words before them: nobody names the splits of one set so."""
  listing = list_folder(touch(tmp_path, *(f'{name}/1.jpg' for name in names)))
  assert listing.class_names == tuple(sorted(names))


def test_classes_that_hold_the_same_folders_may_be_splits(tmp_path) -> None:
  """By names that nobody knows; then what was learned would be to tell training from test."""
  listing = list_folder(
    touch(tmp_path, *(f'{split}/{name}/1.jpg' for split in ('erste', 'zweite') for name in 'ab'))
  )
  assert listing.class_names == ('erste', 'zweite')
  (note,) = listing.notes
  assert 'the classes erste, zweite all hold a, b; if these are the classes' in note
  touch(tmp_path, 'erste/2.jpg')  # as a class with folders in it has
  assert list_folder(tmp_path).notes == ()


def test_folders_beside_the_splits_are_named(tmp_path) -> None:
  listing = list_folder(touch(tmp_path, 'train/a/1.jpg', 'train/b/1.jpg', 'test/1.jpg', 'old/x'))
  assert set(listing.splits) == {'train'}
  assert listing.passed_over == ('old', 'test')


def test_a_split_without_images_of_a_class(tmp_path) -> None:
  listing = list_folder(touch(tmp_path, 'train/a/1.jpg', 'train/b/1.jpg', 'test/b/1.jpg'))
  assert named(listing, 'test') == [('test/b/1.jpg', 1)]


def test_links_to_themselves(tmp_path) -> None:
  touch(tmp_path, 'a/1.jpg', 'b/2.jpg')
  for link in ('c', 'a/self', 'a/self.jpg'):
    (tmp_path / link).symlink_to(tmp_path / link)
  assert [name for name, _ in named(list_folder(tmp_path), 'train')] == [
    'a/1.jpg',
    'a/self.jpg',
    'b/2.jpg',
  ]


@pytest.mark.parametrize(
  ('paths', 'message'),
  [
    (
      ('val/a/1.jpg', 'val/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg'),
      'holds test, val, which are named like splits, but no folder train with class folders',
    ),
    (('Train/1.jpg', 'Test/1.jpg'), r'holds Test, Train, .*organize \S*/Train OUT'),
    (('train/cat.1.jpg', 'test1/1.jpg'), r'holds test1, train, .* side by side in \S*/train'),
    (
      ('seg_train/1.jpg', 'seg_test/seg_test/a/1.jpg', 'seg_pred/seg_pred/1.jpg'),
      'holds seg_pred, seg_test, seg_train, which are named like splits',
    ),
    (('train_images/1.jpg', 'TestSet/a/1.jpg'), 'which are named like splits'),
    (
      ('train_1/a/1.jpg', 'train_1/b/1.jpg', 'train_2/a/1.jpg', 'train_2/b/1.jpg', 'test/a/1.jpg'),
      r'/train_1 and \S*/train_2 are both named like the train split',
    ),
    (('my-train/1.jpg', 'My-Val/1.jpg'), 'holds My-Val, my-train, which are named like splits'),
    (('train1/1.jpg', 'test1/1.jpg', 'val1/1.jpg'), 'test1, train1, val1, which are named like'),
    (('train/1.jpg', 'test/1.jpg', 'sheets/1.csv'), 'named like splits'),
    (('train/1.jpg',), r'holds train, which are named like splits, .*organize \S*/train OUT'),
    (('x/train/a/1.jpg', 'x/test/a/1.jpg'), r'x/train holds a single class, a'),
    (('red/1.jpg',), 'holds a single class, red'),
    (('train/red/1.jpg', 'test/red/1.jpg'), 'train holds a single class, red'),
    (
      ('a/train/1.jpg', 'a/test/1.jpg', 'b/train/1.jpg', 'b/test/1.jpg'),
      r'holds splits inside of its classes, as in \S*/a; expected train/CLASS',
    ),
    (
      ('train/a/1.jpg', 'train/b/1.jpg', 'val/a/1.jpg', 'valid/a/1.jpg'),
      r'/val and \S*/valid are both named like the validation split',
    ),
    (
      ('entraînement/a/1.jpg', 'entraînement/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg'),
      r'holds entraînement, test, each with a, b in it, and test is the name of a split; call the',
    ),
    ((), r'has no folder for each class; expected train/CLASS/\*\.jpg or CLASS'),
    (('1.jpg', '2.jpg'), r'side by side: see python -m cifar_jax data organize'),
    (
      ('train/a/1.jpg', 'train/c/1.jpg', 'test/b/1.jpg'),
      r'test has the classes b, which .*train has not',
    ),
    (('a/1.txt', 'b/1.txt'), r'no image in them; expected files named \*\.bmp'),
  ],
)
def test_other_trees(tmp_path, paths, message) -> None:
  with pytest.raises(UserError, match=message):
    list_folder(touch(tmp_path, *paths))


def test_a_file_is_no_folder(tmp_path) -> None:
  with pytest.raises(UserError, match='is no folder'):
    list_folder(touch(tmp_path, 'x.jpg') / 'x.jpg')
