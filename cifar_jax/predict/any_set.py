"""Other data than a run's own, as its network takes them: images by its preprocessing, classes by
their names.

A set is named by options of the section `data` of a config, as `--data.name=folder
--data.dir=photos`. How its images become inputs is not among them: that is the run's.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.data import npz, test_sets
from cifar_jax.data.dataset import Dataset, Examples, Split
from cifar_jax.data.expected import known
from cifar_jax.data.fitted import FittedImages, check_channels
from cifar_jax.data.matching import Matching, match_classes, parse_renamed
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.predict.classifier import Classifier
from cifar_jax.predict.run_data import check_task
from cifar_jax.run_dir import run_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import user_path

OWN, OTHER = "the run's own data", "not the run's own data"
_ALL = 'all'  # what the split of a set is called that has none
_NEUTRAL = {'channels': 0, 'pad_to': 0, 'placement': 'host'}  # the run's preprocessing does it
# What of the section would make other inputs than those of training, or says what is held out.
_OF_THE_RUN = re.compile(
  r'(channels|pad_to|placement|normalize|mean|std|zca_.*|validation.*|keep_.*|drop_.*)'
  r'|folder\.(image_size|resize|interpolation)'
)


@dataclasses.dataclass(frozen=True)
class Request:
  """What a command line says about other data.

  Attributes:
    overrides: Options of the section, as '--data.name=folder'.
    classes: '--classes', as 'car=automobile'.
    skip_unknown: '--skip_unknown_classes'.
    split: 'train', 'validation' or 'test'; None: test where the set has one.
  """

  overrides: tuple[str, ...]
  classes: str = ''
  skip_unknown: bool = False
  split: str | None = None

  def config(self, network: Classifier) -> ConfigDict:
    """The section `data` that they make of the run's own, whose images then become inputs.

    Raises:
      UserError: there is no such option, or it is the run's to say.
    """
    for word in self.overrides:
      option = word.partition('=')[0].removeprefix('--data.')
      if _OF_THE_RUN.fullmatch(option):
        raise UserError(
          f'--data.{option} is as the run has it: images become inputs of its network as they did '
          'in training'
        )
    config = network.config.copy_and_resolve_references().unlock()
    given = [word.replace('--data.', '--config.data.', 1) for word in self.overrides]
    with _options_of_data():
      changed = configs.override(config, given).unlock().data
    changed.update(_NEUTRAL)
    names = [word.partition('=')[0] for word in self.overrides]
    if '--data.name' in names and '--data.dir' not in names:
      changed.dir = ''  # where the run's own data are is not where these are
    preprocessing = network.preprocessing
    changed.folder.image_size = (preprocessing.height, preprocessing.width)
    changed.folder.resize = preprocessing.resize
    changed.folder.interpolation = preprocessing.interpolation
    return changed

  def match(self, theirs: Sequence[str], network: Classifier, source: str, **how: bool) -> Matching:
    """The classes of the set as those of the network, see `match_classes`."""
    renamed = parse_renamed(self.classes)
    names = network.class_names
    return match_classes(theirs, names, source, renamed, self.skip_unknown, **how)


@dataclasses.dataclass(frozen=True)
class OtherSet:
  """A set as a run's network takes it.

  Attributes:
    name: What it is called.
    split: Which part of it this is; 'all' where it has no parts.
    examples: Its images uint8 [N, H, W, C], when they are asked for, with the run's classes.
    matching: How its classes were found among the run's.
    source: Where it came from, for people.
    own: Whether these are the run's own data after all.
    skipped: The number of images of classes that the run lacks.
    notes: Sentences on what was found in it.
    synthetic: Whether its images were drawn by a program.
    split_note: What must stand beside every accuracy of the run, such as 'test used as validation'.
    changed_test: Whether its images are the test images of the run, but changed.
  """

  name: str
  split: str
  examples: Examples
  matching: Matching
  source: str
  own: bool = False
  skipped: int = 0
  notes: tuple[str, ...] = ()
  synthetic: bool = False
  split_note: str = ''
  changed_test: bool = False

  @property
  def remark(self) -> str:
    """What stands beside every number: whose data these are, and what the run did with them."""
    if self.own:
      return ', '.join(filter(None, [OWN, self.split_note]))
    return OTHER + (', synthetic' if self.synthetic else '')

  @property
  def is_own_test(self) -> bool:
    """Whether this is the test set of the run, be it changed: it is looked at then, too."""
    return self.changed_test or (self.own and self.split in ('test', _ALL))

  @property
  def classes_line(self) -> str:
    """How the classes were matched, and what was left out."""
    skipped = f' ({self.skipped} images)' if self.skipped else ''
    return f'{self.matching}{skipped}'

  def facts(self) -> dict[str, Any]:
    """What a JSON object says about it."""
    return {
      'data': self.name,
      'split': self.split,
      'source': self.source,
      'own_data': self.own,
      'classes_matched': self.matching.how,
      'examples': len(self.examples),
      'skipped': self.skipped,
    }


def open_set(request: Request, network: Classifier) -> OtherSet:
  """Opens a set of labeled images.

  Raises:
    UserError: there is no such set, it has classes that the run lacks, or no images of the run's
      classes.
  """
  config = request.config(network)
  if config.name in test_sets.NEW_PHOTOGRAPHS:
    return _photographs(request, network, config)
  if (base := test_sets.corrupted_set(config.name)) is not None:
    return _corrupted(request, network, config, base)
  if config.name in test_sets.NAMES:
    raise UserError(
      f'--data.name={config.name} is no set of images with a label each; '
      f'python -m cifar_jax evaluate measures it'
    )
  with _options_of_data():
    dataset = _load(config)
  split = request.split or next(
    name for name in ('test', 'validation', 'train') if len(dataset.splits.get(name, ()))
  )
  chosen = dataset.splits.get(split)
  if chosen is None or not len(chosen):
    there = [name for name, part in dataset.splits.items() if len(part)]
    raise UserError(
      f'--split={split}: {dataset.source} has no {split} images, but {" and ".join(there)}'
    )
  check_task(network.task, chosen.labels, dataset.source)
  alone = sum(1 for part in dataset.splits.values() if len(part)) == 1
  digits = known(config) is not None
  matching = request.match(dataset.class_names, network, dataset.source, digits_are_names=digits)
  examples, skipped = as_inputs(chosen, matching, network.preprocessing, dataset.source)
  return OtherSet(
    name=dataset.name,
    split=_ALL if alone else split,
    examples=examples,
    matching=matching,
    source=dataset.source,
    own=_is_own(dataset, network),
    skipped=skipped,
    notes=dataset.notes,
    synthetic=dataset.synthetic,
    split_note=split_note_of(network),
  )


def split_note_of(network: Classifier) -> str:
  """What must stand beside every accuracy of a run on its own data; '' if there is nothing."""
  return str(run_files.read_about(network.run).get('split_note') or '')


def _load(config: ConfigDict) -> Dataset:
  """The set that a section `data` names, of which nothing need be there to train on."""
  path = npz.find(config.name, user_path(config.dir)) if config.dir else None
  return data.load(config) if path is None else npz.read(config.name, path, alone=True)


def as_inputs(
  part: Examples, matching: Matching, preprocessing: Preprocessing, source: str
) -> tuple[Split, int]:
  """A split as a network takes it, and the number of images of classes that it lacks.

  Raises:
    UserError: the images have other channels, or none is of the network's classes.
  """
  check_channels(part.images.shape[-1], preprocessing, source)
  labels = matching.labels(part.labels)
  rows = np.flatnonzero(labels >= 0) if labels.ndim == 1 else np.arange(len(labels))
  if not len(rows):
    raise UserError(f'{source} has no image of a class of the run')
  images: Any = FittedImages(part.images, preprocessing, rows)
  return Split(images, labels[rows]), len(labels) - len(rows)


def check_test_set(request: Request, network: Classifier, name: str) -> None:
  """Raises UserError where one of `test_sets.NAMES`, test images with one label each, is not what a
  network of several labels or the split of a request is for.
  """
  if network.thresholds:
    raise UserError(
      f'--data.name={name} has one label an image, and the run was trained on images with several'
    )
  if request.split not in (None, 'test'):
    raise UserError(f'--split={request.split}: {name} is a test set, and has no other part')


def _photographs(request: Request, network: Classifier, config: ConfigDict) -> OtherSet:
  """CIFAR-10.1."""
  check_test_set(request, network, config.name)
  found = test_sets.read_photographs(config.name, config.dir)
  matching = request.match(found.class_names, network, found.source)
  examples, skipped = as_inputs(found.split, matching, network.preprocessing, found.source)
  name = f'cifar10_1 {found.version}'
  return OtherSet(name, 'test', examples, matching, found.source, skipped=skipped)


def _corrupted(request: Request, network: Classifier, config: ConfigDict, base: str) -> OtherSet:
  """One corruption of CIFAR-10-C or CIFAR-100-C, in one severity or all."""
  check_test_set(request, network, config.name)
  if config.name == base:
    raise UserError(
      f'--data.name={base} is many sets; name one of its corruptions, as {base}_fog, or, in the '
      f'severity 3, {base}_fog_3 (python -m cifar_jax evaluate measures all)'
    )
  found = test_sets.read_corrupted(base, config.dir)
  split = found.split(config.name.removeprefix(f'{base}_'))
  matching = request.match(found.class_names, network, str(found.source))
  examples, skipped = as_inputs(split, matching, network.preprocessing, str(found.source))
  own = base == f'{network.config.data.name}_c'
  source = str(found.source)
  return OtherSet(
    config.name, 'test', examples, matching, source, skipped=skipped, changed_test=own
  )


def _is_own(dataset: Dataset, network: Classifier) -> bool:
  """Whether a set is what the run was trained on, as far as its fingerprint tells."""
  said = run_files.read_about(network.run).get('data_fingerprint')
  if not said:
    return False

  def fitted(part: Examples | None) -> Split:
    part = dataset.train.take(slice(0)) if part is None else part
    rows = np.arange(len(part))
    images: Any = FittedImages(part.images, network.preprocessing, rows)
    return Split(images, part.labels)

  splits = data.Splits(
    train=fitted(dataset.train),
    validation=fitted(dataset.validation),
    test=fitted(dataset.test),
    class_names=dataset.class_names,
    name=dataset.name,
    source=dataset.source,
    synthetic=dataset.synthetic,
    validation_is_test=network.config.data.validation == 'test',
    has_test=len(dataset.test) > 0,
  )
  return data.fingerprint(splits) == said


@contextlib.contextmanager
def _options_of_data() -> Iterator[None]:
  """Lets errors of the data name the options as they are written here."""
  try:
    yield
  except UserError as error:
    lines = [text.replace('--config.data.', '--data.') for text in (str(error), *error.details)]
    raise UserError(lines[0], lines[1:]) from error
