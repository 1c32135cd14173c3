"""CIFAR-10.1, -C and -H as their authors publish them."""

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.data import test_sets
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.cifar_test_sets import (
  images_seen_as,
  write_corrupted,
  write_people,
  write_photographs,
)
from tests.helpers.mutations import mutated, mutations
from tests.helpers.only_user_errors import only_user_errors


def test_photographs_of_either_version(tmp_path, monkeypatch) -> None:
  images = images_seen_as([3, 1, 4])
  write_photographs(tmp_path / 'CIFAR-10.1' / 'datasets', images, [3, 1, 5])
  found = test_sets.read_photographs('cifar10_1', str(tmp_path))
  np.testing.assert_array_equal(found.split.images, images)
  assert (found.version, found.split.labels.tolist()) == ('v6', [3, 1, 5])
  with pytest.raises(UserError, match=r'holds no cifar10\.1_v4_data\.npy; .*modestyachts/CIFAR-10'):
    test_sets.read_photographs('cifar10_1_v4', str(tmp_path))
  write_photographs(tmp_path, images[:2], [0, 9], 'v4')
  assert test_sets.read_photographs('cifar10_1', str(tmp_path)).version == 'v6'
  monkeypatch.setenv('CIFAR_JAX_DATA', str(tmp_path))
  assert len(test_sets.read_photographs('cifar10_1_v4', '').split) == 2


def test_corruptions_in_the_order_of_the_article_then_others(tmp_path) -> None:
  seen = {
    name: [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1]] for name in ('fog', 'shot_noise', 'spatter')
  }
  write_corrupted(tmp_path / 'CIFAR-10-C', [7, 8], seen)
  found = test_sets.read_corrupted('cifar10_c', str(tmp_path))
  assert found.corruptions == ('shot_noise', 'fog', 'spatter')
  assert found.labels.tolist() == [7, 8]
  images = found.images('fog')
  assert isinstance(images, np.memmap)
  assert images[:, :, 0, 0, 0].tolist() == seen['fog']
  assert len(test_sets.CORRUPTIONS) == 15


@pytest.mark.parametrize('name', test_sets.NAMES)
def test_nothing_is_trained_on_them(name) -> None:
  config = base.get_config().data
  config.name = name
  with pytest.raises(UserError, match=f'data.name={name} is a test set, on which nothing is train'):
    data.load(config)


def test_what_is_no_official_file_is_refused(tmp_path) -> None:
  np.save(tmp_path / 'labels.npy', np.arange(10) % 3)
  with pytest.raises(UserError, match='10 labels, which are not five times those of the same imag'):
    test_sets.read_corrupted('cifar10_c', str(tmp_path))
  np.save(tmp_path / 'labels.npy', np.zeros(10, int))
  with pytest.raises(UserError, match=r'labels but no images, as gaussian_noise\.npy'):
    test_sets.read_corrupted('cifar10_c', str(tmp_path))
  np.save(tmp_path / 'fog.npy', np.zeros((9, 32, 32, 3), np.uint8))
  with pytest.raises(UserError, match=r'fog\.npy holds uint8 of the shape \[9, .* \[10, 32, 32, 3'):
    test_sets.read_corrupted('cifar10_c', str(tmp_path)).images('fog')
  np.save(tmp_path / 'labels.npy', np.full(5, 10))
  with pytest.raises(UserError, match='holds the label 10; expected 0 to 9'):
    test_sets.read_corrupted('cifar10_c', str(tmp_path))
  for shares in (np.full((2, 10), 0.2), np.full((2, 10), np.nan), np.full((2, 5), 0.2)):
    write_people(tmp_path, shares)
    with pytest.raises(UserError, match='sum to 1 for each image'):
      test_sets.read_people(str(tmp_path))
  np.save(tmp_path / 'cifar10h-probs.npy', np.array([{}], object), allow_pickle=True)
  with pytest.raises(UserError, match=r'as a \.npy file of plain numbers'):
    test_sets.read_people(str(tmp_path))


def test_damaged_files_end_in_one_sentence(tmp_path) -> None:
  """Of 300 mutations: cut short, bytes changed, headers forged, shapes that are huge."""
  write_photographs(tmp_path, images_seen_as([3, 1, 4]), [3, 1, 5])
  write_people(tmp_path, np.full((3, 10), 0.1))
  write_corrupted(tmp_path, [1, 2], {'fog': [[0, 1]] * 5})
  readers = {
    'cifar10.1_v6_data.npy': lambda: test_sets.read_photographs('cifar10_1', str(tmp_path)),
    'cifar10.1_v6_labels.npy': lambda: test_sets.read_photographs('cifar10_1', str(tmp_path)),
    'cifar10h-probs.npy': lambda: test_sets.read_people(str(tmp_path)),
    'labels.npy': lambda: test_sets.read_corrupted('cifar10_c', str(tmp_path)),
    'fog.npy': lambda: test_sets.read_corrupted('cifar10_c', str(tmp_path)).images('fog'),
  }
  for name, reader in readers.items():
    content = (tmp_path / name).read_bytes()
    # Numbers of the header, which is text, and bytes of it.
    for damaged in (*mutated(content, 30, 1), *mutations(content, 30, header=128)):
      (tmp_path / name).write_bytes(damaged)
      with only_user_errors(str(tmp_path)):
        reader()
    (tmp_path / name).write_bytes(content)
