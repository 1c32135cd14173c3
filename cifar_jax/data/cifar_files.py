"""CIFAR-10 and CIFAR-100 as their author publishes them: python and binary version.

Format: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. An image is
3,072 bytes: 1,024 red ones, row by row, then green, then blue. A python batch is a pickle with
`data` uint8 `[N, 3072]` and a list of labels; a binary batch is N records of one label byte
(CIFAR-100: the coarse, then the fine label) and the image.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from cifar_jax.data.archives import md5_of, read_files
from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.pickles import read_pickle

CIFAR10_CLASSES = (
  *('airplane', 'automobile', 'bird', 'cat', 'deer'),
  *('dog', 'frog', 'horse', 'ship', 'truck'),
)
CIFAR100_CLASSES = tuple(
  """
  apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
  camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
  cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
  lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
  oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
  possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
  spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
  train trout tulip turtle wardrobe whale willow_tree wolf woman worm
  """.split()  # noqa: SIM905 - a hundred lines of quotes would hide the rest
)
CIFAR100_COARSE_CLASSES = tuple(
  """
  aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
  household_furniture insects large_carnivores large_man-made_outdoor_things
  large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
  non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
  """.split()  # noqa: SIM905 - see above
)
_IMAGE_BYTES = 3 * 32 * 32
# MD5s that the author of the data, or torchvision for him, publishes.
_MD5 = {
  'data_batch_1': 'c99cafc152244af753f735de768cd75f',
  'data_batch_2': 'd4bba439e000b95fd0a9bffe97cbabec',
  'data_batch_3': '54ebc095f3ab1f0389bbae665268c751',
  'data_batch_4': '634d18415352ddfa80567beed471001a',
  'data_batch_5': '482c414d41f54cd18b22e5b47cb7c3cb',
  'test_batch': '40351d587109b95175f43aff81a1287e',
  'train': '16019d7e3df5f24257cddd939b257f8d',
  'test': 'f0ef6b0ae62326f3e7ffdfab6717acfc',
  'cifar-10-binary.tar.gz': 'c32a1d4ab5d03f1284b67883e8d87530',
  'cifar-100-binary.tar.gz': '03b5dce01913d631647c71ecec9e9cb8',
}


@dataclasses.dataclass(frozen=True)
class Version:
  """One of the published versions of a data set.

  Attributes:
    dataset: The name of the data set.
    folders: The names under which it is found unpacked: the official one, then those of Keras.
    archives: The names under which it is found packed, the official one first.
    train: Names of the training batches, in the official order.
    test: Name of the test batch.
    train_records: Number of images in each training batch.
    test_records: Number of images in the test batch.
    label_key: Name of the labels in a python batch; '' in the binary version.
    label_bytes: Number of label bytes of a binary record.
    label_byte: Which of them counts.
  """

  dataset: str
  folders: tuple[str, ...]
  archives: tuple[str, ...]
  train: tuple[str, ...]
  test: str
  train_records: int
  test_records: int = 10_000
  label_key: str = ''
  label_bytes: int = 1
  label_byte: int = 0

  @property
  def files(self) -> dict[str, int]:
    """File name -> number of images in it."""
    return {name: self.train_records for name in self.train} | {self.test: self.test_records}


CLASSES = {
  'cifar10': CIFAR10_CLASSES,
  'cifar100': CIFAR100_CLASSES,
  'cifar100_coarse': CIFAR100_COARSE_CLASSES,
}
_BATCHES = tuple(f'data_batch_{i}' for i in range(1, 6))
_FINE_VERSIONS = (
  Version(
    dataset='cifar10',
    folders=('cifar-10-batches-py', 'cifar-10-batches-py-target/cifar-10-batches-py'),
    archives=(
      'cifar-10-python.tar.gz',
      'cifar-10-batches-py.tar.gz',
      'cifar-10-batches-py-target_archive',
    ),
    train=_BATCHES,
    test='test_batch',
    train_records=10_000,
    label_key='labels',
  ),
  Version(
    dataset='cifar10',
    folders=('cifar-10-batches-bin',),
    archives=('cifar-10-binary.tar.gz',),
    train=tuple(f'{name}.bin' for name in _BATCHES),
    test='test_batch.bin',
    train_records=10_000,
  ),
  Version(
    dataset='cifar100',
    folders=('cifar-100-python', 'cifar-100-python-target/cifar-100-python'),
    archives=('cifar-100-python.tar.gz', 'cifar-100-python-target_archive'),
    train=('train',),
    test='test',
    train_records=50_000,
    label_key='fine_labels',
  ),
  Version(
    dataset='cifar100',
    folders=('cifar-100-binary',),
    archives=('cifar-100-binary.tar.gz',),
    train=('train.bin',),
    test='test.bin',
    train_records=50_000,
    label_bytes=2,
    label_byte=1,
  ),
)
# The same files of CIFAR-100, with the labels of its 20 superclasses.
VERSIONS = (
  *_FINE_VERSIONS,
  *(
    dataclasses.replace(
      version,
      dataset='cifar100_coarse',
      label_key='coarse_labels' if version.label_key else '',
      label_byte=0,
    )
    for version in _FINE_VERSIONS
    if version.dataset == 'cifar100'
  ),
)


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the official files of a data set.

  Args:
    name: 'cifar10', 'cifar100' or 'cifar100_coarse'.
    path: The archive itself, the folder with the batches, or the folder around either.

  Returns:
    The folder with the batches or the archive, unpacked before packed and python before binary;
    None where there is neither.
  """
  versions = [version for version in VERSIONS if version.dataset == name]
  if not versions:
    return None
  if path.is_file():
    return path
  for version in versions:
    for folder in (path, *(path / folder for folder in version.folders)):
      if any((folder / file).is_file() for file in version.files):
        return folder
  for version in versions:
    for archive in version.archives:
      if (path / archive).is_file():
        return path / archive
  return None


def expected(name: str) -> tuple[str, ...]:
  """The folders and archives of `name`, for messages; none where it is not official."""
  versions = [version for version in VERSIONS if version.dataset == name]
  return tuple(entry for v in versions for entry in (v.folders[0], v.archives[0]))


def sources(name: str, path: pathlib.Path) -> list[pathlib.Path]:
  """The files on which the content of what `find` found depends."""
  if path.is_file():
    return [path]
  names = (file for version in VERSIONS if version.dataset == name for file in version.files)
  return [path / file for file in names if (path / file).is_file()]


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads what `find` found.

  Raises:
    UserError: a batch is missing, damaged or not of the official size; the message names it.
  """
  versions = [version for version in VERSIONS if version.dataset == name]
  # Text and file names in a python batch, and bytes spelled as UTF-8 by Python 3, take up to twice
  # the room of the images.
  limits = {
    file: 2 * records * (_IMAGE_BYTES + 64)
    for version in versions
    for file, records in version.files.items()
  }
  contents = read_files(path, limits)
  present = [v for v in versions if any(file in contents for file in v.files)]
  if not present:
    expected = ' or '.join(f'{v.train[0]} ...' for v in versions)
    raise UserError(f'{path} holds no batch of {name}; expected the files {expected}.')
  version = present[0]
  missing = [file for file in version.files if file not in contents]
  if missing:
    raise UserError(f'{path} lacks {", ".join(missing)}; get all files of {name} again.')
  notes = _differences(version, contents, path)
  batches = {
    file: _read_batch(version, contents.pop(file), records, str(path / file))
    for file, records in version.files.items()
  }
  return Dataset(
    name=name,
    train=_join(batches[file] for file in version.train),
    test=batches[version.test],
    class_names=CLASSES[name],
    source=str(path),
    notes=notes,
  )


def _differences(
  version: Version, contents: Mapping[str, bytes], path: pathlib.Path
) -> tuple[str, ...]:
  """A sentence on files whose MD5s are not the published ones, as far as those are known."""
  known = {file: contents[file] for file in version.files if file in _MD5}
  wrong = [file for file, content in known.items() if md5_of(content) != _MD5[file]]
  archive = version.archives[0]
  if not known and path.is_file() and archive in _MD5:
    with path.open('rb') as file:
      if hashlib.file_digest(file, 'md5').hexdigest() != _MD5[archive]:
        wrong = [path.name]
  if not wrong:
    return ()
  return (
    f'not the published files of {version.dataset}, by the MD5s of {", ".join(wrong)}: results may '
    'not compare with others',
  )


def _read_batch(version: Version, content: bytes, records: int, where: str) -> Split:
  if version.label_key:
    pixels, labels = _read_python(content, version.label_key, where)
  else:
    pixels, labels = _read_binary(content, version, records, where)
  if pixels.shape != (records, _IMAGE_BYTES):
    raise UserError(
      f'{where} holds data of shape {list(pixels.shape)}; expected {[records, _IMAGE_BYTES]}: '
      'get the file again.'
    )
  images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
  return make_split(images, labels, len(CLASSES[version.dataset]), where)


def _read_python(content: bytes, label_key: str, where: str) -> tuple[np.ndarray, np.ndarray]:
  batch = read_pickle(content, where)
  for key in ('data', label_key):
    if key not in batch:
      raise UserError(f'{where} has no entry {key!r}; get the file again.')
  pixels, labels = batch['data'], batch[label_key]
  if not isinstance(pixels, np.ndarray):
    raise UserError(f'{where}: its entry data is no array; get the file again.')
  if not isinstance(labels, list) or not all(type(label) is int for label in labels):
    raise UserError(f'{where}: its entry {label_key} is no list of integers; get the file again.')
  try:
    return pixels, np.array(labels, np.int64)
  except OverflowError:
    raise UserError(f'{where} holds labels out of range; get the file again.') from None


def _read_binary(
  content: bytes, version: Version, records: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
  record_bytes = version.label_bytes + _IMAGE_BYTES
  if len(content) != records * record_bytes:
    raise UserError(
      f'{where} has {len(content)} bytes; expected {records * record_bytes}: get the file again.'
    )
  table = np.frombuffer(content, np.uint8).reshape(records, record_bytes)
  return table[:, version.label_bytes :], table[:, version.label_byte]


def _join(batches: Iterable[Split]) -> Split:
  parts = list(batches)
  return Split(
    np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
  )
