"""Sets on which networks of CIFAR are tested alone, in the files that their authors publish.

CIFAR-10.1: new photographs (B. Recht et al., "Do CIFAR-10 Classifiers Generalize to CIFAR-10?",
2018). CIFAR-10-C and CIFAR-100-C: the test images under 15 kinds of corruption, and four more, in
five severities (D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", 2019). CIFAR-10H: what 51 people on average took each test image for
(J. Peterson et al., "Human uncertainty makes classification more robust", 2019).

All are files of NumPy's, which are mapped into memory and not read before their pixels are needed.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from cifar_jax.data.cifar_files import CIFAR10_CLASSES, CIFAR100_CLASSES
from cifar_jax.data.dataset import Split
from cifar_jax.data.sources import usual_locations
from cifar_jax.utils.errors import UserError, as_user_error
from cifar_jax.utils.paths import user_path
from cifar_jax.utils.suggestions import did_you_mean, listed

SEVERITIES = 5
# Those of the benchmark, in the order of its article; the mean error is theirs.
CORRUPTIONS = (
  *('gaussian_noise', 'shot_noise', 'impulse_noise', 'defocus_blur', 'glass_blur', 'motion_blur'),
  *('zoom_blur', 'snow', 'frost', 'fog', 'brightness', 'contrast', 'elastic_transform', 'pixelate'),
  'jpeg_compression',
)
_LABELS = 'labels.npy'
_IMAGE = (32, 32, 3)
_PEOPLE = 'cifar10h-probs.npy'
_VERSIONS = ('v6', 'v4')  # of CIFAR-10.1, the one that its authors recommend first
_ADDRESSES = {
  'cifar10_1': 'https://github.com/modestyachts/CIFAR-10.1, folder datasets',
  'cifar10_c': 'https://zenodo.org/records/2535967, CIFAR-10-C.tar, unpacked',
  'cifar100_c': 'https://zenodo.org/records/3555552, CIFAR-100-C.tar, unpacked',
  'cifar10h': 'https://github.com/jcpeterson/cifar-10h, folder data',
}
CORRUPTED = {
  'cifar10_c': ('CIFAR-10-C', CIFAR10_CLASSES),
  'cifar100_c': ('CIFAR-100-C', CIFAR100_CLASSES),
}
NEW_PHOTOGRAPHS = ('cifar10_1', *(f'cifar10_1_{version}' for version in _VERSIONS))
PEOPLE = 'cifar10h'
NAMES = (*NEW_PHOTOGRAPHS, *CORRUPTED, PEOPLE)


@dataclasses.dataclass(frozen=True)
class Photographs:
  """CIFAR-10.1.

  Attributes:
    version: 'v6' or 'v4'.
    split: Images uint8 [N, 32, 32, 3], mapped, and labels.
    source: The file of the images.
  """

  version: str
  split: Split
  source: str
  class_names: tuple[str, ...] = CIFAR10_CLASSES


@dataclasses.dataclass(frozen=True)
class Corrupted:
  """CIFAR-10-C or CIFAR-100-C.

  Attributes:
    corruptions: The names of the files that are there: those of the benchmark in its order, then
      others by name.
    labels: Those of the test set, int32 [N], in its order.
    source: The folder.
  """

  corruptions: tuple[str, ...]
  labels: np.ndarray
  source: pathlib.Path
  class_names: tuple[str, ...]

  def images(self, corruption: str) -> np.ndarray:
    """The images of a corruption, uint8 [5, N, 32, 32, 3], mapped: severity 1 first."""
    path = self.source / f'{corruption}.npy'
    images = _mapped(path)
    count = len(self.labels)
    if images.dtype != np.uint8 or images.shape != (SEVERITIES * count, *_IMAGE):
      raise UserError(
        f'{path} holds {images.dtype} of the shape {list(images.shape)}; expected uint8 of '
        f'{[SEVERITIES * count, *_IMAGE]}, five severities of the {count} images that '
        f'{self.source / _LABELS} has labels for'
      )
    return images.reshape(SEVERITIES, count, *_IMAGE)

  def split(self, name: str) -> Split:
    """The images of 'CORRUPTION', in all severities, or of 'CORRUPTION_SEVERITY', as fog_3.

    Raises:
      UserError: there is no such corruption, or its file is damaged.
    """
    corruption, _, last = name.rpartition('_')
    if corruption in self.corruptions and last in map(str, range(1, SEVERITIES + 1)):
      return Split(self.images(corruption)[int(last) - 1], self.labels)
    if name not in self.corruptions:
      raise UserError(
        f'{self.source} has no corruption {name}{did_you_mean(name, self.corruptions)}; it has '
        f'{listed(self.corruptions, len(CORRUPTIONS))}, each in the severities 1 to {SEVERITIES}'
      )
    images = self.images(name)
    return Split(images.reshape(-1, *_IMAGE), np.tile(self.labels, SEVERITIES))


@dataclasses.dataclass(frozen=True)
class People:
  """CIFAR-10H.

  Attributes:
    shares: Which part of the people took an image for which class, float64 [N, 10]; the images are
      those of CIFAR-10's test set in the official order.
    source: The file.
  """

  shares: np.ndarray
  source: pathlib.Path
  class_names: tuple[str, ...] = CIFAR10_CLASSES


def corrupted_set(name: str) -> str | None:
  """The one of `CORRUPTED` that a name is of, as cifar10_c of cifar10_c_fog_3; None if of none."""
  return next((base for base in CORRUPTED if name == base or name.startswith(f'{base}_')), None)


def read_photographs(name: str, directory: str) -> Photographs:
  """Reads CIFAR-10.1 as one of `NEW_PHOTOGRAPHS` names it, in a folder or the usual places.

  Raises:
    UserError: it is not there, or damaged.
  """
  versions = [version for version in _VERSIONS if name in ('cifar10_1', f'cifar10_1_{version}')]
  wanted = [f'cifar10.1_{version}_data.npy' for version in versions]
  path = _find(name, directory, wanted, ('CIFAR-10.1/datasets', 'cifar10.1', 'datasets'))
  version = versions[wanted.index(path.name)]
  images = _mapped(path)
  labels_path = path.with_name(f'cifar10.1_{version}_labels.npy')
  labels = _labels(labels_path, len(CIFAR10_CLASSES))
  if images.dtype != np.uint8 or images.shape != (len(labels), *_IMAGE):
    raise UserError(
      f'{path} holds {images.dtype} of the shape {list(images.shape)}; expected uint8 of '
      f'{[len(labels), *_IMAGE]}, an image for each label in {labels_path}'
    )
  return Photographs(version, Split(images, labels), str(path))


def read_corrupted(name: str, directory: str) -> Corrupted:
  """Reads the labels of CIFAR-10-C or CIFAR-100-C, and which corruptions are there.

  Raises:
    UserError: it is not there, or damaged.
  """
  folder, class_names = CORRUPTED[name]
  path = _find(name, directory, [_LABELS], (folder,))
  labels = _labels(path, len(class_names))
  blocks = labels.reshape(SEVERITIES, -1) if len(labels) % SEVERITIES == 0 else labels[None]
  if len(blocks) != SEVERITIES or (blocks != blocks[0]).any():
    raise UserError(
      f'{path} holds {len(labels)} labels, which are not five times those of the same images; get '
      f'the official file again: {_ADDRESSES[name]}'
    )
  there = {file.stem for file in path.parent.glob('*.npy') if file.name != _LABELS}
  corruptions = [each for each in CORRUPTIONS if each in there]
  corruptions += sorted(there - set(CORRUPTIONS))
  if not corruptions:
    raise UserError(
      f'{path.parent} holds labels but no images, as {CORRUPTIONS[0]}.npy; get the official files: '
      f'{_ADDRESSES[name]}'
    )
  return Corrupted(tuple(corruptions), blocks[0].copy(), path.parent, class_names)


def read_people(directory: str) -> People:
  """Reads CIFAR-10H.

  Raises:
    UserError: it is not there, or damaged.
  """
  path = _find(PEOPLE, directory, [_PEOPLE], ('cifar-10h/data', 'cifar-10h', 'data'))
  mapped = _mapped(path)
  right = mapped.ndim == 2 and mapped.shape[1] == len(CIFAR10_CLASSES) and mapped.dtype.kind == 'f'
  shares = np.array(mapped, np.float64) if right and len(mapped) <= 10**6 else np.zeros((1, 1))
  # A sum of NaN is not near 1 either.
  if not right or shares.min() < 0 or not np.allclose(shares.sum(1), 1, atol=1e-3):
    raise UserError(
      f'{path} holds {mapped.dtype} of the shape {list(mapped.shape)}; expected shares of people, '
      f'from 0 to 1, that sum to 1 for each image, [10000, {len(CIFAR10_CLASSES)}]: get the '
      f'official file again: {_ADDRESSES[PEOPLE]}'
    )
  return People(shares, path)


def _find(name: str, directory: str, files: Sequence[str], folders: Sequence[str]) -> pathlib.Path:
  """The first of some files that is in a folder, or in one of these folders in it."""
  places = [user_path(directory)] if directory else usual_locations()
  for file in files:
    for place in places:
      for path in (place / file, *(place / folder / file for folder in folders)):
        if path.is_file():
          return path
  option = f'--data.dir={directory}' if directory else ', '.join(map(str, places))
  raise UserError(
    f'{name} is not there: {option} holds no {" or ".join(files)}; the official files come from '
    f'{_ADDRESSES[name if name in _ADDRESSES else NEW_PHOTOGRAPHS[0]]}; then give their folder by '
    '--data.dir'
  )


def _labels(path: pathlib.Path, classes: int) -> np.ndarray:
  """Labels int32 [N], each below the number of classes."""
  labels = _mapped(path)
  if labels.ndim != 1 or labels.dtype.kind not in 'iu':
    raise UserError(
      f'{path} holds {labels.dtype} of the shape {list(labels.shape)}; expected a label, a whole '
      'number, for each image'
    )
  lowest, highest = int(labels.min()), int(labels.max())
  if lowest < 0 or highest >= classes:
    raise UserError(
      f'{path} holds the label {lowest if lowest < 0 else highest}; expected 0 to {classes - 1}'
    )
  return np.array(labels, np.int32)


def _mapped(path: pathlib.Path) -> np.ndarray:
  """The array in a .npy file, mapped read-only; a pickle in it is not read."""
  with as_user_error(f'{path} cannot be read as a .npy file of plain numbers', '; get it again'):
    array = np.lib.format.open_memmap(path, mode='r')
    if not array.size:
      raise ValueError('it is empty')
    return array
