"""The digits of scikit-learn, from the package and from its file, and UCI's."""

import gzip
import pathlib
import sys

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.data import digits
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.mutations import mutations
from tests.helpers.only_user_errors import only_user_errors


def lines(images: np.ndarray, labels: list[int]) -> bytes:
  rows = [[*image.reshape(-1).tolist(), label] for image, label in zip(images, labels, strict=True)]
  return '\n'.join(','.join(map(str, row)) for row in rows).encode() + b'\n'


IMAGES = np.resize(np.arange(17), (3, 8, 8))
FILE = lines(IMAGES, [0, 1, 9])


def test_every_level_is_scaled_to_the_nearest_and_can_be_told_again(
  tmp_path: pathlib.Path,
) -> None:
  (tmp_path / 'digits.csv.gz').write_bytes(gzip.compress(FILE))
  dataset = digits.read('digits', digits.find('digits', tmp_path) or tmp_path)
  assert dataset.train.images.shape == (3, 8, 8, 1)
  assert dataset.train.images[0, 0, :5, 0].tolist() == [0, 16, 32, 48, 64]  # 15.9375 each
  assert dataset.train.images[0, 2, 0, 0] == 255
  levels = (dataset.train.images[..., 0] / 255 * 16).round()
  np.testing.assert_array_equal(levels, IMAGES)
  assert dataset.train.labels.tolist() == [0, 1, 9]
  assert not len(dataset.test)


def test_the_installed_ones_are_those_of_scikit_learn(tmp_path: pathlib.Path) -> None:
  datasets = pytest.importorskip('sklearn.datasets')
  config = base.get_config()
  config.data.name = 'digits'
  dataset = data.load(config.data)
  original = datasets.load_digits()
  levels = (dataset.train.images[..., 0] / 255 * 16).round()
  np.testing.assert_array_equal(levels, original.images)
  np.testing.assert_array_equal(dataset.train.labels, original.target)
  path = pathlib.Path(datasets.__file__).parent / 'data' / 'digits.csv.gz'
  config.data.dir = str(path)
  np.testing.assert_array_equal(data.load(config.data).train.images, dataset.train.images)
  assert dataset.train.images[0, 0, 3, 0] == 207  # 13 of 16


def test_without_scikit_learn_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setitem(sys.modules, 'sklearn', None)
  monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
  config = base.get_config()
  config.data.name = 'digits'
  with pytest.raises(UserError, match=r"needs sklearn.*pip install -e '\.\[digits\]'"):
    data.load(config.data)


def test_those_of_uci_have_test_images(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'optdigits.tra').write_bytes(FILE)
  with pytest.raises(UserError, match=r'lacks optdigits\.tes'):
    digits.read('digits', tmp_path)
  (tmp_path / 'optdigits.tes').write_bytes(lines(IMAGES[:2], [7, 8]))
  dataset = digits.read('digits', digits.find('digits', tmp_path) or tmp_path)
  assert (len(dataset.train), dataset.test.labels.tolist()) == (3, [7, 8])


@pytest.mark.parametrize(
  ('content', 'complaint'),
  [
    (lines(IMAGES + 1, [0, 1, 9]), 'pixels from 1 to 17; expected whole numbers from 0 to 16'),
    (lines(IMAGES, [0, 1, 10]), 'the label 10'),
    (lines(IMAGES, [0, 1, 9]).replace(b',9\n', b',1e300\n'), r'the label 1e\+300; expected digits'),
    (lines(IMAGES[:, :7], [0, 1, 9]), 'expected 64 pixels and a digit'),
    (FILE.replace(b'16', b'1.5'), 'expected whole numbers'),
    (FILE.replace(b'16', b'nan'), 'expected whole numbers'),
    (FILE.replace(b'16', b'x'), 'cannot be read'),
    (b'', 'cannot be read'),
    (gzip.compress(bytes(1 << 25)), 'more than 16,777,216 bytes'),
  ],
)
def test_other_lines_are_refused(tmp_path: pathlib.Path, content: bytes, complaint: str) -> None:
  (tmp_path / 'digits.csv').write_bytes(content)
  with pytest.raises(UserError, match=rf'digits\.csv.*{complaint}'):
    digits.read('digits', tmp_path / 'digits.csv')


def test_damage_raises_nothing_but_user_errors(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'digits.csv.gz'
  for content in mutations(gzip.compress(FILE), 300):
    path.write_bytes(content)
    with only_user_errors(naming='digits.csv.gz'):
      digits.read('digits', path)
