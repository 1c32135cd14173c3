"""The plain options of a run: those that no name chooses, declared once.

From this table come the config and its flags, all checks, what a resumed run may change, and
docs/options.md. Options of an optimizer, a schedule, an average or a network are declared beside
their code. A new plain option is an entry here; `neutral` and `resumable` are explained in
`schema.options.Option`.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from cifar_jax.config.image_options import AUGMENT, DATA, FOLDER, WHITENING
from cifar_jax.schema.constraints import (
  BELOW_ONE,
  BOOLEAN,
  NOT_NEGATIVE,
  TEXT,
  WORDS,
  Constraint,
  integer,
  number,
  numbers,
  one_of,
)
from cifar_jax.schema.options import Option
from cifar_jax.training.monitor import MONITORS, PATIENCE_SEMANTICS

# It alters no update already made, nor the arithmetic of any.
_free = functools.partial(Option, resumable=True, neutral=True)
_resumable = functools.partial(Option, resumable=True)

_RUN = (
  Option(
    'seed', 0, integer(0, 2**32 - 1), 'All random numbers follow from (seed, step).', neutral=True
  ),
  _free('epochs', 20, integer(1), 'The length of the run.', 'epochs'),
  _free(
    'max_steps',
    0,
    integer(0),
    'The run ends after so many updates if its epochs are not over; 0: no limit.',
    'steps',
  ),
  Option(
    'batch_size',
    128,
    integer(1),
    'The number of images per step, over all devices together.',
    'images',
  ),
  Option(
    'grad_accum_steps',
    1,
    integer(1),
    'The number of parts of a batch that are computed one after another, to save memory.',
    since=2,
  ),
  _resumable(
    'parallel',
    'jit',
    one_of('jit', 'pmap'),
    "'jit' compiles one program over a device mesh; 'pmap' maps the same step over the devices.",
  ),
  _resumable(
    'pad_to_devices',
    False,
    BOOLEAN,
    'Whether a batch that does not divide by the devices is filled with rows that do not count; '
    'otherwise it is an error.',
    since=2,
  ),
  _free('devices', 0, integer(0), 'The number of devices to use; 0: all.'),
  _resumable(
    'steps_per_dispatch',
    0,
    integer(0),
    'The number of updates per dispatch; 0: one on CPU, elsewhere as many as fit between two host '
    'events.',
    'steps',
  ),
  Option(
    'init_from',
    '',
    TEXT,
    "The folder of a run whose best checkpoint gives the first parameters; '': none.",
    since=2,
  ),
  _free('tags', (), WORDS, 'Words of your choice that are kept with the run.'),
  _free(
    'tensorboard',
    True,
    BOOLEAN,
    'Whether to write TensorBoard events; False saves the import of TensorFlow: 4 s and 500 MB.',
  ),
)

_CLASS_WEIGHTS = Constraint(
  lambda value: value == () or (numbers(NOT_NEGATIVE).test(value) and any(value)),
  'a tuple of numbers not below 0, one a class, of which one at least is above 0',
  tuple,
  ((), (1, 2.5), (0, 1)),
  (1.0, (-1.0,), ('a',), (float('nan'),), (0, 0.0, 0), (True, 1), None),
)
_LOSS = (
  Option(
    'label_smoothing', 0.0, BELOW_ONE, 'The share of each label that is divided among all classes.'
  ),
  Option(
    'class_weights', (), _CLASS_WEIGHTS, 'The factor of the training loss of each class; (): all 1.'
  ),
  Option(
    'l1',
    0.0,
    NOT_NEGATIVE,
    "The factor of the sum of the kernels' absolute values, which is added to the training loss.",
  ),
  Option(
    'l2',
    0.0,
    NOT_NEGATIVE,
    "The factor of the sum of the kernels' squares, which is added to the training loss.",
  ),
)


def _watching(resumable: bool) -> tuple[Option, ...]:
  """What early stopping and the plateau rule have in common."""
  return (
    Option(
      'monitor', 'val_loss', one_of(*MONITORS), 'The metric that is watched.', resumable=resumable
    ),
    Option(
      'patience_semantics',
      'keras',
      one_of(*PATIENCE_SEMANTICS),
      "'keras' counts epochs as its later releases do; 'keras2.0' waits for one epoch more.",
      resumable=resumable,
      since=2,
    ),
  )


_EARLY_STOPPING = (
  _resumable(
    'patience',
    0,
    integer(0),
    'The number of epochs without improvement after which the run stops; 0: it never does.',
    'epochs',
  ),
  _resumable(
    'min_delta', 0.0, NOT_NEGATIVE, 'A change must be larger than this to count as an improvement.'
  ),
  *_watching(resumable=True),
)
_PLATEAU = (
  Option(
    'patience',
    0,
    integer(0),
    'The number of epochs without improvement after which the rate is lowered; 0: it never is.',
    'epochs',
  ),
  Option(
    'factor',
    0.1,
    number('between 0 and 1', lambda value: 0 < value < 1, (0.1, 0.99), (0, 1, 1.0, -0.5)),
    'The factor by which the learning rate is multiplied.',
  ),
  Option(
    'min_delta', 1e-4, NOT_NEGATIVE, 'A change must be larger than this to count as an improvement.'
  ),
  Option(
    'cooldown',
    0,
    integer(0),
    'The number of epochs after a reduction that are not counted.',
    'epochs',
  ),
  Option(
    'min_learning_rate', 0.0, NOT_NEGATIVE, 'The learning rate is not lowered below this value.'
  ),
  *_watching(resumable=False),
)
_BATCH_NORM = (
  Option(
    'ghost_batch_size',
    0,
    integer(0),
    'The rows over which statistics are taken ("ghost" batches); 0: the whole batch, whatever the '
    'number of devices; batch_size / devices: each device by itself.',
    'images',
    since=2,
  ),
)
_EVALUATE = (
  _free('every_epochs', 1, integer(0), 'How often to validate; 0: only at the end.', 'epochs'),
  _resumable(
    'drop_remainder',
    False,
    BOOLEAN,
    'Whether to validate on whole batches only, as old articles did.',
    since=2,
  ),
  _resumable(
    'tta',
    'none',
    one_of('none', 'flip', 'flip_translate'),
    "The views of each image over which logits are averaged: 'flip' (2) or 'flip_translate' (6).",
  ),
  _free(
    'images_every_epochs',
    0,
    integer(0),
    'How often confusion, misclassified images and samples go to TensorBoard; 0: never.',
    'epochs',
    since=2,
  ),
  _free(
    'max_misclassified',
    20,
    integer(-1),
    'The number of misclassified images among them; -1: all.',
    'images',
    since=2,
  ),
)
_PROFILE = (
  _free(
    'steps',
    0,
    integer(0),
    'The number of updates to record for TensorBoard and Perfetto, in RUN/tensorboard; 0: none.',
    'steps',
  ),
  _free(
    'after_steps',
    20,
    integer(0),
    'The number of updates per session before the recording, so that compilation is left out.',
    'steps',
  ),
)
_CHECKPOINT = (
  _free(
    'every_epochs',
    1,
    integer(0),
    'How often to save; 0: only at the end and on a signal.',
    'epochs',
  ),
  _free('every_steps', 0, integer(0), 'How often to save within an epoch; 0: never.', 'steps'),
  _free(
    'keep', 2, integer(1), 'The number of latest checkpoints to keep, in addition to the best one.'
  ),
  _free(
    'best',
    'val_accuracy',
    one_of('val_accuracy', 'val_loss'),
    'The metric that chooses the best checkpoint.',
  ),
)

# Section -> what it is about and its options.
SECTIONS: Mapping[str, tuple[str, tuple[Option, ...]]] = {
  '': ('The run as a whole.', _RUN),
  'data': ('Where images come from, and how they become inputs.', DATA),
  'data.folder': ("For data.name 'folder': image files, one folder for each class.", FOLDER),
  'augment': ('Random changes of the training images.', AUGMENT),
  'whitening': ('A convolution that gets its kernel from the data.', WHITENING),
  'loss': ('What is minimized: cross-entropy and what is added to it.', _LOSS),
  'early_stopping': ("Early stopping, as by Keras's EarlyStopping.", _EARLY_STOPPING),
  'plateau': (
    "A lower learning rate on a plateau, as by Keras's ReduceLROnPlateau, on top of the schedule.",
    _PLATEAU,
  ),
  'batch_norm': ('The statistics of BatchNorm.', _BATCH_NORM),
  'evaluate': ('Validation, and the evaluation at the end.', _EVALUATE),
  'profile': ('A trace of some updates.', _PROFILE),
  'checkpoint': ('The checkpoints that are kept, to resume from.', _CHECKPOINT),
}


def _with_sections() -> Iterator[Option]:
  for section, (_, options) in SECTIONS.items():
    for option in options:
      name = f'{section}.{option.name}' if section else option.name
      yield dataclasses.replace(option, name=name)


OPTIONS: Mapping[str, Option] = {option.name: option for option in _with_sections()}
# Section whose other options depend on what its name chooses -> what a config sets in it.
CHOSEN: Mapping[str, Mapping[str, Any]] = {
  'model': {'name': 'conv_net'},
  'optimizer': {'name': 'adam', 'learning_rate': 1e-3},
  'schedule': {'name': 'constant'},
  'weight_averaging': {'name': 'none'},
}
# Options in which runs of the same system may differ.
NEUTRAL = frozenset(name for name, option in OPTIONS.items() if option.neutral)
