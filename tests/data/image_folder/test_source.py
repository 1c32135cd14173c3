"""Folders of image files as data sets: the pixels, the cache, damage, and what is reported."""

import collections
import hashlib
import io
import shutil

import numpy as np
import pytest

pytest.importorskip('PIL')
from PIL import Image

from cifar_jax import data
from cifar_jax.data import statistics
from cifar_jax.data.image_folder import decoded, source
from cifar_jax.data.preprocessing import of_folder
from cifar_jax.utils.errors import UserError
from tests.helpers.picture_files import data_config, picture, write_tree


@pytest.fixture
def tree(tmp_path):
  return write_tree(
    tmp_path / 'tree',
    {'train/cats': 6, 'train/dogs': 5, 'validation/cats': 2, 'validation/dogs': 3},
  )


def test_the_validation_folder_is_validation_and_there_is_no_test(tree) -> None:
  dataset = data.load(data_config(tree, (20, 30)))
  assert dataset.class_names == ('cats', 'dogs')
  assert dataset.train.images.shape == (11, 20, 30, 3)
  assert dataset.train.labels.tolist() == [0] * 6 + [1] * 5
  assert np.array_equal(dataset.train.images[7], np.asarray(picture(7)))
  assert dataset.notes[:2] == (
    'train: Found 11 images belonging to 2 classes',
    'validation: Found 5 images belonging to 2 classes',
  )
  splits = data.split(dataset, '0.1', 'random', 0)
  assert splits.validation.labels.tolist() == splits.test.labels.tolist() == [0, 0, 1, 1, 1]
  assert len(splits.train) == 11
  assert splits.validation_label == 'validation used as test'


def test_three_splits(tmp_path) -> None:
  write_tree(tmp_path, {'train/a': 3, 'val/a': 2, 'test/a': 1, 'train/b': 3})
  splits = data.split(data.load(data_config(tmp_path)), '0.5', 'random', 0)
  assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [6, 2, 1]
  assert splits.validation_label == 'validation'
  splits = data.split(data.load(data_config(tmp_path)), 'test', 'random', 0)
  assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [6, 1, 1]
  assert splits.validation_label == 'test used as validation'


def test_classes_only_are_split_by_seed(tmp_path) -> None:
  dataset = data.load(data_config(write_tree(tmp_path, {'a': 10, 'b': 10})))
  first, again, other = (data.split(dataset, '0.25', 'random', seed) for seed in (0, 0, 1))
  assert [len(part) for part in (first.train, first.validation)] == [15, 5]
  assert np.array_equal(first.validation.images, again.validation.images)
  assert not np.array_equal(first.validation.images, other.validation.images)
  with pytest.raises(UserError, match='has no test images; hold some'):
    data.split(dataset, 'test', 'random', 0)


def test_later_loads_decode_nothing(tree, monkeypatch) -> None:
  first = data.load(data_config(tree))

  def refuse(*_):
    raise AssertionError('decoded again')

  monkeypatch.setattr(decoded, 'decode_file', refuse)
  again = data.load(data_config(tree))
  assert np.array_equal(first.train.images, again.train.images)
  assert not again.train.images.flags.owndata  # mapped, not read
  with pytest.raises(AssertionError, match='decoded again'):
    data.load(data_config(tree, (9, 9)))
  picture(99).save(tree / 'train' / 'cats' / '000.png')
  with pytest.raises(AssertionError, match='decoded again'):
    data.load(data_config(tree))


def test_a_cache_that_was_cut_is_made_again(tree) -> None:
  first = data.load(data_config(tree, (7, 7)))
  for file in decoded.cache_folder().glob('folder-*/pixels'):
    with open(file, 'rb+') as pixels:
      pixels.truncate(50)
  assert np.array_equal(first.class_names, data.load(data_config(tree, (7, 7))).class_names)


def test_damaged_files_are_named_or_left_out(tree) -> None:
  (tree / 'train' / 'cats' / '002.png').write_bytes(b'')
  (tree / 'validation' / 'dogs' / '001.png').write_bytes(b'text')
  with pytest.raises(
    UserError, match=r'^2 of 16 .*002\.png \(empty\), .*dogs/001\.png \(no picture'
  ):
    data.load(data_config(tree))
  dataset = data.load(data_config(tree, (20, 30), damaged='skip'))
  assert np.array_equal(dataset.train.images[2], np.asarray(picture(3)))
  assert dataset.train.labels.tolist() == [0] * 5 + [1] * 5
  assert dataset.validation is not None
  assert dataset.validation.labels.tolist() == [0, 0, 1, 1]
  assert any('2 damaged images, left out: ' in note for note in dataset.notes)


def test_a_class_with_nothing_usable(tree) -> None:
  for file in (tree / 'train' / 'dogs').iterdir():
    file.write_bytes(b'')
  with pytest.raises(UserError, match='no usable training image of dogs'):
    data.load(data_config(tree, damaged='skip'))


def test_imbalance_and_duplicates_are_reported(tmp_path) -> None:
  write_tree(tmp_path, {'train/a': 9, 'train/b': 3, 'test/a': 4, 'test/b': 4})
  shutil.copy(tmp_path / 'train/a/004.png', tmp_path / 'test/a/000.png')
  # The same photograph, smaller and as JPEG.
  smaller = Image.open(tmp_path / 'train/b/001.png').resize((21, 14), Image.Resampling.LANCZOS)
  smaller.save(tmp_path / 'test/b/saved_again.jpg')
  notes = data.load(data_config(tmp_path)).notes
  assert 'classes are not balanced: a has 9 training images, b has 3' in notes
  exact, near = notes[-2:]
  assert exact.startswith('1 images of test are also in train: ')
  assert exact.endswith('test/a/000.png = ' + str(tmp_path / 'train/a/004.png'))
  assert near.startswith('1 images of test are almost the same also in train: ')
  assert 'saved_again.jpg = ' + str(tmp_path / 'train/b/001.png') in near


def test_no_room(tree, monkeypatch) -> None:
  usage = collections.namedtuple('usage', 'free')
  monkeypatch.setattr(decoded.shutil, 'disk_usage', lambda _: usage(16 * 8 * 8 * 3 * 2 - 1))
  with pytest.raises(UserError, match='do not fit'):
    source.load(data_config(tree))
  monkeypatch.setattr(decoded.shutil, 'disk_usage', lambda _: usage(16 * 8 * 8 * 3 * 2))
  source.load(data_config(tree))


def test_later_loads_compare_nothing(tmp_path, monkeypatch) -> None:
  write_tree(tmp_path, {'train/a': 4, 'train/b': 4, 'test/a': 2, 'test/b': 2})
  shutil.copy(tmp_path / 'train/a/002.png', tmp_path / 'test/a/001.png')
  first = data.load(data_config(tmp_path))
  assert first.notes[-1].startswith('1 images of test are also in train: ')

  def refuse(*_):
    raise AssertionError('compared again')

  monkeypatch.setattr(decoded, 'near_pairs', refuse)
  assert data.load(data_config(tmp_path)).notes == first.notes
  picture(99).save(tmp_path / 'test/a/001.png')
  with pytest.raises(AssertionError, match='compared again'):
    data.load(data_config(tmp_path))


def test_later_starts_read_no_pixels_to_find_equal_images(tmp_path, monkeypatch) -> None:
  """Those of an entry of the cache that lacks checksums of its pixels are read once."""
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path.with_name('cache')))
  write_tree(tmp_path, {'train/a': 6, 'train/b': 6, 'test/a': 2})
  for copy in ('a/001', 'a/002', 'b/003'):
    shutil.copy(tmp_path / 'train/a/000.png', tmp_path / f'train/{copy}.png')
  config = data_config(tmp_path)

  def notes() -> tuple[str, ...]:
    splits = data.split(data.load(config), '0.5', 'last', 0)
    return data.with_shared_images_noted(splits).notes

  note = '1 of the 6 validation images have the same pixels as one of train'
  assert note in notes()
  (kept,) = decoded.cache_folder().glob('folder-*/pixel_digests.npy')
  digests = [hashlib.blake2b(image, digest_size=16) for image in data.load(config).train.images]
  assert np.load(kept)[:12].tobytes() == b''.join(digest.digest() for digest in digests)
  kept.write_bytes(kept.read_bytes()[:50])
  assert note in notes()
  kept.unlink()
  assert note in notes()
  for module in (decoded, statistics):
    monkeypatch.setattr(module, 'digests', lambda *_: pytest.fail('pixels are read'))
  assert note in notes()
  together = data.split(data.load(config), '0.5', 'last', 0, together=True)
  assert len(together.train) + len(together.validation) == 12


def test_equal_images_of_two_splits_are_told_once(tmp_path) -> None:
  """Also where they are saved as other files, and where some training images are held out."""
  write_tree(tmp_path, {'train/a': 4, 'train/b': 4, 'test/a': 2, 'test/b': 2})
  shutil.copy(tmp_path / 'train/a/002.png', tmp_path / 'test/a/001.png')
  Image.open(tmp_path / 'train/b/001.png').save(tmp_path / 'test/b/001.bmp')
  for validation in ('test', '2'):
    splits = data.split(data.load(data_config(tmp_path)), validation, 'random', 0)
    (note,) = (
      note
      for note in data.with_shared_images_noted(splits).notes
      if 'also' in note or 'same' in note
    )
    assert note.startswith('2 images of test are also in train: ')
    assert f'test/b/001.bmp = {tmp_path / "train/b/001.png"}' in note


def test_a_folder_reached_by_another_path_is_the_same(tree, tmp_path, monkeypatch) -> None:
  first = data.load(data_config(tree))
  (tmp_path / 'link').symlink_to(tree)
  monkeypatch.setattr(decoded, 'decode_file', lambda *_: pytest.fail('decoded again'))
  monkeypatch.chdir(tmp_path)
  for place in ('link', 'tree', 'link/../tree'):
    found = data.load(data_config(place))
    assert np.array_equal(found.train.images, first.train.images)
  for inside, place in (('tree', '.'), ('tree', './'), ('tree/train', '..')):
    monkeypatch.chdir(tmp_path / inside)
    found = data.load(data_config(place))
    assert np.array_equal(found.train.images, first.train.images)


@pytest.mark.parametrize('place', ['x' * 5000, 'a\0b', '~nobody_of_this_name/x', 'a/' * 2500])
def test_what_can_be_no_path(place) -> None:
  for name in ('folder', 'cifar10'):
    config = data_config(place)
    config.name = name
    with pytest.raises(UserError, match=r'^--config.data.dir=.* (is no path|does not)') as caught:
      data.load(config)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_links_in_circles_are_damaged_images(tree) -> None:
  (tree / 'train/cats/self.jpg').symlink_to(tree / 'train/cats/self.jpg')
  (tree / 'train/dogs/again').symlink_to(tree / 'train')
  with pytest.raises(UserError, match=r'^1 of 17 images .*self\.jpg \(cannot be read'):
    data.load(data_config(tree))


def test_missing_folder() -> None:
  with pytest.raises(UserError, match=r'needs --config\.data\.dir'):
    data.load(data_config(''))
  with pytest.raises(UserError, match='does not exist'):
    data.load(data_config('/no/where'))


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_five_hundred_mutated_files(tmp_path) -> None:
  """Cut, with flipped bytes, with the suffix of another format: decoded or named, never more."""
  generator = np.random.default_rng(5)
  kinds = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
  originals = []
  for kind in kinds:
    for number in range(4):
      buffer = io.BytesIO()
      picture(number, 40, 60).save(buffer, kind)
      originals.append(buffer.getvalue())
  folder = tmp_path / 'a'
  folder.mkdir()
  cut_to_nothing = set()
  for number in range(500):
    stored = bytearray(originals[generator.integers(len(originals))])
    how = number % 4
    if how == 0:
      # Less than any of the formats needs for its first rows.
      stored = stored[: generator.integers(0, 60)]
      cut_to_nothing.add(f'{number:03d}')
    elif how == 1:
      stored = stored[: generator.integers(60, len(stored))]
    else:
      for _ in range(1 if how == 2 else 40):
        stored[generator.integers(len(stored))] ^= 1 << int(generator.integers(8))
    suffix = ('.jpg', '.png', '.webp', '.bmp', '.gif', '.tif')[generator.integers(6)]
    (folder / f'{number:03d}{suffix}').write_bytes(stored)
  picture(1).save(folder / 'good.png')
  write_tree(tmp_path, {'b': 1})
  config = data_config(tmp_path, damaged='skip', max_megapixels=1.0)
  dataset = data.load(config)
  listing = source.list_folder(tmp_path)
  found = decoded.load(listing, of_folder(config), 2)
  named = {path.rpartition('/')[2].partition('.')[0] for path, _ in found.damaged}
  assert len(dataset.train) + len(found.damaged) == 502
  assert cut_to_nothing <= named
  assert all(reason for _, reason in found.damaged)
  assert len(found.damaged_list.read_text().splitlines()) == len(found.damaged)


@pytest.mark.parametrize('cache', [True, False])
def test_groups_by_the_names_of_files(tmp_path, cache) -> None:
  """Two pictures of each patient in each class, on one side in every fold."""
  write_tree(tmp_path, {'train_set/train_set/a': 8, 'train_set/train_set/b': 8, 'test_set/a': 1})
  for path in sorted((tmp_path / 'train_set').rglob('*.png')):
    number = int(path.stem)
    path.rename(path.with_name(f'patient{number // 2}_{number % 2}.png'))
  (tmp_path / 'test_set/a/000.png').rename(tmp_path / 'test_set/a/patient9_0.png')
  config = data_config(tmp_path, group_pattern=r'patient(\d+)_', cache=cache)
  config.placement = 'device' if cache else 'host'
  dataset = data.load(config)
  assert dataset.train.groups.tolist() == list('0011223300112233')
  assert dataset.test.groups.tolist() == ['9']
  found = 'train: Found 16 images belonging to 2 classes in train_set/train_set'
  assert found in dataset.notes
  held = []
  for fold in range(2):
    splits = data.split(dataset, '0.1', 'random', 3, grouped=True, folds=2, fold=fold)
    groups = splits.validation.groups.tolist()
    assert len(groups) == 8
    assert not set(groups) & set(splits.train.groups.tolist())
    rows = np.flatnonzero(np.isin(dataset.train.groups, groups))
    assert np.array_equal(splits.validation.images[:], dataset.train.images[rows])
    held += groups
  assert sorted(held) == sorted(dataset.train.groups)


def test_a_name_without_a_group_is_told(tmp_path) -> None:
  write_tree(tmp_path, {'a': 2, 'b': 2})
  for pattern in ('patient', r'(x)?\d'):
    with pytest.raises(UserError, match=r'finds no group in the name of \S*/a/000\.png; give one'):
      data.load(data_config(tmp_path, group_pattern=pattern))
