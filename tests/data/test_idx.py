"""MNIST's idx files, plain and packed."""

import gzip
import hashlib
import pathlib
import resource
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_jax.data import idx
from cifar_jax.utils.errors import UserError
from tests.helpers.idx_files import IMAGES, files, write
from tests.helpers.mutations import mutations
from tests.helpers.only_user_errors import only_user_errors


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize(
  ('name', 'inside'),
  [
    ('mnist', 'MNIST/raw'),
    ('fashion_mnist', 'fashion-mnist'),
    ('kmnist', 'KMNIST/raw'),
    ('mnist', '.'),
  ],
)
def test_reads_what_torchvision_and_keras_leave(
  tmp_path: pathlib.Path, name: str, inside: str, packed: bool
) -> None:
  folder = write(tmp_path / inside, files(), packed)
  assert idx.find(name, tmp_path) == folder
  dataset = idx.read(name, folder)
  assert dataset.train.images.shape == (2, 3, 4, 1)
  np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
  assert dataset.test.labels.tolist() == [9, 0]
  assert len(dataset.class_names) == 10


def test_finds_nothing_elsewhere(tmp_path: pathlib.Path) -> None:
  assert idx.find('mnist', tmp_path) is None
  write(tmp_path / 'FashionMNIST/raw', files())
  assert idx.find('mnist', tmp_path) is None
  assert idx.find('cifar10', tmp_path / 'FashionMNIST/raw') is None


def test_test_images_of_another_size_are_refused(tmp_path: pathlib.Path) -> None:
  """As many pixels, but not as many rows."""
  contents = files()
  turned = struct.pack('>4B3I', 0, 0, 8, 3, 2, 6, 2) + IMAGES.tobytes()
  folder = write(tmp_path, contents | {'train-images-idx3-ubyte': turned})
  with pytest.raises(UserError, match=r't10k-images\S* holds images of 3x4 pixels and .* of 6x2'):
    idx.read('mnist', folder)


@pytest.mark.parametrize('packed', [False, True])
def test_names_with_a_dot_and_packed_files_of_any_name(
  tmp_path: pathlib.Path, packed: bool
) -> None:
  for name, content in files().items():
    dotted = name.replace('-idx', '.idx')
    # Packed under the plain name, and plain under the packed one.
    path = tmp_path / (dotted if packed else f'{dotted}.gz')
    path.write_bytes(gzip.compress(content) if packed else content)
  assert idx.find('mnist', tmp_path) == tmp_path
  dataset = idx.read('mnist', tmp_path)
  np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
  assert dataset.test.labels.tolist() == [9, 0]


def test_packed_files_are_compared_with_the_published_sums(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  folder = write(tmp_path, files(), packed=True)
  assert len(idx.read('mnist', folder).notes) == 4
  sums = [hashlib.md5((folder / f'{name}.gz').read_bytes()).hexdigest() for name in files()]
  monkeypatch.setitem(idx.MD5, 'mnist', (*sums[:3], '0' * 32))
  (note,) = idx.read('mnist', folder).notes
  assert 't10k-labels-idx1-ubyte.gz is not the published file' in note


def test_names_the_file_that_is_missing_or_wrong(tmp_path: pathlib.Path) -> None:
  contents = files()
  del contents['t10k-labels-idx1-ubyte']
  folder = write(tmp_path, contents)
  with pytest.raises(UserError, match=r'lacks t10k-labels-idx1-ubyte'):
    idx.read('mnist', folder)
  write(folder, {'t10k-labels-idx1-ubyte': files()['train-labels-idx1-ubyte'] + b'x'})
  with pytest.raises(
    UserError, match=r't10k-labels-idx1-ubyte has 11 bytes; its header announces 10'
  ):
    idx.read('mnist', folder)
  write(folder, {'t10k-labels-idx1-ubyte': files()['train-labels-idx1-ubyte'][:-2] + b'\x0a\x00'})
  with pytest.raises(UserError, match=r'holds the label 10'):
    idx.read('mnist', folder)


def emnist(part: str, labels: bytes) -> dict[str, bytes]:
  """The files of EMNIST, whose images of 28x28 pixels are stored transposed."""
  upright = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
  stored = b''.join(image.T.tobytes() for image in upright)
  content = {
    'images-idx3-ubyte': struct.pack('>4B3I', 0, 0, 8, 3, len(labels), 28, 28) + stored,
    'labels-idx1-ubyte': struct.pack('>4BI', 0, 0, 8, 1, len(labels)) + labels,
  }
  return {
    f'emnist-{part}-{side}-{name}': file
    for side in ('train', 'test')
    for name, file in content.items()
  }


@pytest.mark.parametrize('inside', ['.', 'EMNIST/raw', 'gzip'])
def test_letters_of_emnist_are_upright_and_count_from_0(
  tmp_path: pathlib.Path, inside: str
) -> None:
  write(tmp_path / inside, emnist('letters', bytes([1, 26, 2])), packed=True)
  folder = idx.find('emnist_letters', tmp_path)
  assert folder == tmp_path / inside
  dataset = idx.read('emnist_letters', folder)
  upright = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
  np.testing.assert_array_equal(dataset.train.images[..., 0], upright)
  assert dataset.train.labels.tolist() == [0, 25, 1]
  assert [dataset.class_names[label] for label in dataset.test.labels] == ['A', 'Z', 'B']
  assert [note for note in dataset.notes if 'turned upright' in note]
  assert [note for note in dataset.notes if 'the labels 1 to 26' in note]
  assert not [note for note in dataset.notes if 'MD5' in note]


@pytest.mark.parametrize(
  ('part', 'classes', 'last'),
  [
    ('byclass', 62, 'z'),
    ('bymerge', 47, 't'),
    ('balanced', 47, 't'),
    ('digits', 10, '9'),
    ('mnist', 10, '9'),
  ],
)
def test_other_parts_of_emnist(tmp_path: pathlib.Path, part: str, classes: int, last: str) -> None:
  """As many classes as were published; 36 is 'a' of the 47."""
  write(tmp_path, emnist(part, bytes([0, classes - 1])))
  dataset = idx.read(f'emnist_{part}', tmp_path)
  assert (len(dataset.class_names), dataset.class_names[-1]) == (classes, last)
  assert dataset.train.labels.tolist() == [0, classes - 1]
  assert idx.find('mnist', tmp_path) is None
  if classes == 47:
    assert dataset.class_names[36:38] == ('a', 'b')


def test_a_missing_file_of_emnist_is_named(tmp_path: pathlib.Path) -> None:
  contents = emnist('letters', bytes([1]))
  del contents['emnist-letters-test-labels-idx1-ubyte']
  with pytest.raises(UserError, match=r'lacks emnist-letters-test-labels-idx1-ubyte .*the four'):
    idx.read('emnist_letters', write(tmp_path, contents))


@pytest.mark.parametrize('packed', [False, True])
def test_mutations_raise_nothing_but_user_errors(tmp_path: pathlib.Path, packed: bool) -> None:
  folder = write(tmp_path, emnist('letters', bytes([1, 2])), packed)
  path = sorted(folder.glob('*images*'))[0]
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for content in mutations(path.read_bytes(), 300, header=16):
    path.write_bytes(content)
    with only_user_errors(naming=str(folder)):
      idx.read('emnist_letters', folder)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@settings(
  max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), packed=st.booleans())
def test_damage_raises_nothing_but_user_errors(
  tmp_path: pathlib.Path, data: st.DataObject, packed: bool
) -> None:
  folder = tmp_path / str(packed)
  write(folder, files(), packed)
  path = data.draw(st.sampled_from(sorted(folder.iterdir())))
  content = bytearray(path.read_bytes())
  for _ in range(data.draw(st.integers(0, 3))):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
  with only_user_errors(naming=str(folder)):
    idx.read('mnist', folder)
