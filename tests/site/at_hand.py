"""What the command lines of a page name and a reader has: a clone, images, tables, arrays."""

import pathlib
import shutil

import numpy as np

from cifar_jax.data.cifar_files import CIFAR10_CLASSES
from tests.helpers import REPOSITORY, cifar_test_sets, picture_files

# The folders with images in each tree; the other trees have those of `flowers`.
_TREES = {
  'catsdogs': [f'{part}/{kind}' for part in ('train', 'validation') for kind in ('cats', 'dogs')],
  'flowers': ['rose', 'tulip'],
  'photos': ['automobile', 'cat'],
  'street': ['car', 'truck'],
}
_IMAGES = 8  # in each of these folders
_LABELS = [number % len(CIFAR10_CLASSES) for number in range(20)]  # of the test images
FEW = 'few.npz'  # images, for what trains whole epochs


def make_clone(folder: pathlib.Path) -> None:
  """Makes a folder like a clone, with a few images in the place of CIFAR-10, and a shared disk."""
  shutil.copytree(REPOSITORY / 'configs', folder / 'configs')
  shutil.copyfile(REPOSITORY / 'launch.py', folder / 'launch.py')
  (folder / 'shared').mkdir()
  make_arrays(folder / 'data' / 'cifar10.npz', 2000)  # runs of the zoo held out 1,000
  make_arrays(folder / FEW)


def make_arrays(path: pathlib.Path, images: int = 40) -> None:
  """Writes training images and 20 for tests, as large as CIFAR-10's and of its classes."""
  path.parent.mkdir(exist_ok=True)
  generator = np.random.default_rng(0)
  labels = {'train': _LABELS * (images // len(_LABELS)), 'test': _LABELS}
  arrays = {f'y_{part}': np.array(numbers) for part, numbers in labels.items()}
  for part, numbers in labels.items():
    arrays[f'x_{part}'] = generator.integers(0, 256, (len(numbers), 32, 32, 3)).astype(np.uint8)
  np.savez(path, class_names=np.array(CIFAR10_CLASSES), **arrays)


def make_data(path: pathlib.Path, several_labels: bool = False) -> None:
  """Writes what --data.dir or --config.data.dir names, as its name says."""
  if path.suffix == '.npz':
    make_arrays(path)
  elif path.suffix == '.csv':
    make_table(path, several_labels)
  elif path.parent.name == 'CIFAR-10.1':
    images = cifar_test_sets.images_seen_as(_LABELS)
    cifar_test_sets.write_photographs(path, images, _LABELS)
  elif path.name == 'CIFAR-10-C':
    cifar_test_sets.write_corrupted(path, _LABELS, {'fog': [_LABELS] * 5})
  elif path.parent.name == 'cifar-10h':
    cifar_test_sets.write_people(path, np.eye(len(CIFAR10_CLASSES))[_LABELS])
  else:
    make_tree(path)


def make_tree(path: pathlib.Path) -> None:
  """Writes a folder of images for each class; before the first _ is what they are a picture of."""
  counts = dict.fromkeys(_TREES.get(path.name, _TREES['flowers']), _IMAGES)
  picture_files.write_tree(path, counts, '_side.png')


def make_table(path: pathlib.Path, several_labels: bool) -> None:
  """Writes a table of images as docs/data.md shows it, and the images."""
  lines = ['file,labels' if several_labels else 'file,label,split,patient']
  picture_files.write_tree(path.parent, {'.': 2 * _IMAGES})
  for number in range(2 * _IMAGES):
    split = ('train', 'train', 'validation', 'test')[number // 2 % 4]
    one = f'{("cat", "dog")[number % 2]},{split},p{number // 8}'
    several = ('beach;dog', 'beach', 'dog', '')[number % 4]
    lines.append(f'{number:03d}.png,{several if several_labels else one}')
  path.write_text('\n'.join(lines) + '\n')


def make_flat(path: pathlib.Path) -> None:
  """Writes images whose names alone tell cats from dogs."""
  path.mkdir()
  for number in range(2 * _IMAGES):
    picture_files.picture(number).save(path / f'{("cat", "dog")[number % 2]}.{number}.jpg')


def make_images(folder: pathlib.Path, pattern: str) -> list[str]:
  """Writes images that a pattern as new/*.jpg stands for; returns what a shell makes of it."""
  path = folder / pattern
  picture_files.write_tree(path.parent, {'.': 3}, path.suffix)
  return sorted(found.relative_to(folder).as_posix() for found in folder.glob(pattern))
