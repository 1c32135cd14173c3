"""The plain options of a run: those that no name chooses, declared once.

From this table come the config and its flags, all checks, what a resumed run may change, and
docs/options.md. Options of an optimizer, a schedule, an average or a network are declared beside
their code. A new plain option is an entry here: name, default, constraint, unit, then a sentence.
What a resumed run may change is `resumable`, or `free` where it leaves all arithmetic as it is too.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cifar_jax.config.image_options import AUGMENT, DATA, FOLDER, WHITENING
from cifar_jax.schema.constraints import (
  BELOW_ONE,
  BOOLEAN,
  NOT_NEGATIVE,
  TEXT,
  UP_TO_ONE,
  WORDS,
  Constraint,
  integer,
  number,
  numbers,
  one_of,
)
from cifar_jax.schema.options import Option, declare, free, resumable
from cifar_jax.training.monitor import MONITORS, PATIENCE_SEMANTICS

_RUN = (
  declare('seed', 0, integer(0, 2**32 - 1), neutral=True)(
    'All random numbers follow from (seed, step).'
  ),
  resumable('rng', 'auto', one_of('auto', 'threefry', 'rbg'), since=2)(
    "The generator of the random numbers for augmentation and dropout. 'threefry' gives the same "
    "numbers on every platform; 'rbg' uses the hardware's generator, which is fast on TPU but "
    "gives different numbers on each platform; 'auto' is 'rbg' on TPU and 'threefry' elsewhere."
  ),
  free('epochs', 20, integer(1), 'epochs')('The length of the run.'),
  free('max_steps', 0, integer(0), 'steps')(
    'The number of updates after which the run ends even if its epochs are not over; 0: no limit.'
  ),
  declare('batch_size', 128, integer(1), 'images')(
    'The number of images per step, over all devices together.'
  ),
  declare('grad_accum_steps', 1, integer(1), since=2)(
    'The number of parts into which a batch is divided, which are computed one after another to '
    'save memory.'
  ),
  resumable('parallel', 'jit', one_of('jit', 'pmap'))(
    "'jit' compiles one program over a device mesh; 'pmap' maps the same step over the devices."
  ),
  resumable('pad_to_devices', False, BOOLEAN, since=2)(
    'Whether a batch that cannot be divided evenly among the devices is filled with rows that do '
    'not count; otherwise it is an error.'
  ),
  free('devices', 0, integer(0))('The number of devices to use; 0: all.'),
  resumable('steps_per_dispatch', 0, integer(0), 'steps')(
    'The number of updates that are sent to the devices at once; 0: one on CPU, and elsewhere as '
    'many as fit between two actions of the host, such as saving.'
  ),
  declare('init_from', '', TEXT, since=2)(
    'Where the initial parameters come from: the folder of a run, whose best checkpoint is used, a '
    "model folder, 'zoo:NAME' or 'hub:OWNER/NAME'; '': they are drawn."
  ),
  declare('init_matching', False, BOOLEAN, since=2)(
    'Whether `init_from` may be a different network: arrays that have the same name and shape in '
    'both are taken, and the others are drawn.'
  ),
  free('tags', (), WORDS)('Words of your choice that are stored with the run.'),
  free('tensorboard', True, BOOLEAN)('Whether to write TensorBoard events.'),
)

BALANCED = ('balanced',)  # a value of loss.class_weights
_CLASS_WEIGHTS = Constraint(
  lambda value: value in ((), BALANCED) or (numbers(NOT_NEGATIVE).test(value) and any(value)),
  f'a tuple of numbers not below 0, one a class, of which one at least is above 0, or {BALANCED}',
  tuple,
  ((), (1, 2.5), (0, 1), BALANCED),
  (1.0, (-1.0,), ('a',), (float('nan'),), (0, 0.0, 0), (True, 1), None),
)
_LOSS = (
  declare('label_smoothing', 0.0, BELOW_ONE)(
    'The share of each label that is divided among all classes.'
  ),
  declare('class_weights', (), _CLASS_WEIGHTS)(
    "The factor of the training loss of each class; (): all 1; ('balanced',): N / (K * count) for "
    'N training images of K classes. The reported loss has no such factors.'
  ),
  declare('positive_weights', 'none', one_of('none', 'balanced'), since=2)(
    "For images with several labels, the factor of a label's loss on images that have it. 'none': "
    "1; 'balanced': the number of training images without the label divided by the number with it."
  ),
  declare('l1', 0.0, NOT_NEGATIVE)(
    "The factor of the sum of the kernels' absolute values, which is added to the training loss."
  ),
  declare('l2', 0.0, NOT_NEGATIVE)(
    "The factor of the sum of the kernels' squares, which is added to the training loss."
  ),
)


def _watching(declare: Callable[..., Callable[[str], Option]]) -> tuple[Option, ...]:
  """What early stopping and the plateau rule have in common."""
  return (
    declare('monitor', 'val_loss', one_of(*MONITORS))('The metric that is watched.'),
    declare('patience_semantics', 'keras', one_of(*PATIENCE_SEMANTICS), since=2)(
      "How patience is counted: 'keras' as in later releases of Keras; 'keras2.0' waits one epoch "
      'longer.'
    ),
  )


_EARLY_STOPPING = (
  resumable('patience', 0, integer(0), 'epochs')(
    'The number of epochs without improvement after which the run stops; 0: it never does.'
  ),
  resumable('min_delta', 0.0, NOT_NEGATIVE)(
    'A change must be larger than this to count as an improvement.'
  ),
  *_watching(resumable),
)
_BELOW = number('between 0 and 1', lambda value: 0 < value < 1, (0.1, 0.99), (0, 1, 1.0, -0.5))
_PLATEAU = (
  declare('patience', 0, integer(0), 'epochs')(
    'The number of epochs without improvement after which the rate is lowered; 0: it never is.'
  ),
  declare('factor', 0.1, _BELOW)('The factor by which the learning rate is multiplied.'),
  declare('min_delta', 1e-4, NOT_NEGATIVE)(
    'A change must be larger than this to count as an improvement.'
  ),
  declare('cooldown', 0, integer(0), 'epochs')(
    'The number of epochs after a reduction that are not counted.'
  ),
  declare('min_learning_rate', 0.0, NOT_NEGATIVE)(
    'The learning rate is not lowered below this value.'
  ),
  *_watching(declare),
)
_BATCH_NORM = (
  declare('ghost_batch_size', 0, integer(0), 'images', since=2)(
    'The number of rows over which statistics are taken ("ghost" batches); 0: the whole batch, '
    'whatever the number of devices; batch_size / devices: each device separately.'
  ),
)
_EVALUATE = (
  free('every_epochs', 1, integer(0), 'epochs')('How often to validate; 0: only at the end.'),
  free('test', True, BOOLEAN, since=2)(
    'Whether the run is measured on the test set at the end. Set it to False for runs from which '
    'you choose one; `evaluate RUN --split=test` then measures the chosen one.'
  ),
  resumable('drop_remainder', False, BOOLEAN, since=2)(
    'Whether to validate on whole batches only, as old articles did.'
  ),
  resumable('tta', 'none', one_of('none', 'flip', 'flip_translate'))(
    "The views of each image over which logits are averaged: 'flip' (2) or 'flip_translate' (6)."
  ),
  resumable('tta_fraction', 1.0, UP_TO_ONE, since=2)(
    'The fraction of a set that is evaluated in all views of `tta`. If it is below 1, all images '
    'are first evaluated once, and then those whose largest class probability is smallest in all '
    'views. Images that are not a set, such as those of `predict`, are always evaluated in all '
    'views.'
  ),
  free('images_every_epochs', 0, integer(0), 'epochs', since=2)(
    'How often the confusion matrix, misclassified images and samples are written to TensorBoard; '
    '0: never.'
  ),
  free('max_misclassified', 20, integer(-1), 'images', since=2)(
    'How many misclassified images are written to TensorBoard each time; -1: all.'
  ),
)
_PROFILE = (
  free('steps', 0, integer(0), 'steps')(
    'The number of updates to record for TensorBoard and Perfetto, in RUN/tensorboard; 0: none.'
  ),
  free('after_steps', 20, integer(0), 'steps')(
    'The number of updates in a session before the recording begins, so that compilation is left '
    'out.'
  ),
)
_CHECKPOINT = (
  free('every_epochs', 1, integer(0), 'epochs')(
    'How often to save a checkpoint; 0: only at the end and on a signal.'
  ),
  free('every_steps', 0, integer(0), 'steps')(
    'How often to save a checkpoint within an epoch; 0: never.'
  ),
  free('keep', 2, integer(1))(
    'The number of latest checkpoints to keep, in addition to the best one.'
  ),
  free('read_back', False, BOOLEAN, since=2)(
    'Whether each checkpoint is read back before an older one is deleted, for folders that may '
    'lose what was written, such as on Google Drive.'
  ),
  free('best', 'val_accuracy', one_of('val_accuracy', 'val_loss', 'val_map'))(
    "The metric that chooses the best checkpoint; 'val_map', the mean average precision, exists "
    'only for images with several labels.'
  ),
)

# Section -> what it is about and its options.
SECTIONS: Mapping[str, tuple[str, tuple[Option, ...]]] = {
  '': ('The run as a whole.', _RUN),
  'data': ('Where images come from, and how they become inputs.', DATA),
  'data.folder': ("Image files, for data.name 'folder' and 'csv'.", FOLDER),
  'augment': ('Random changes of the training images.', AUGMENT),
  'whitening': ('A convolution whose kernel is computed from the data.', WHITENING),
  'loss': ('What training minimizes: cross-entropy, and terms added to it.', _LOSS),
  'early_stopping': ("Early stopping, as in Keras's EarlyStopping.", _EARLY_STOPPING),
  'plateau': (
    "A lower learning rate on a plateau, as in Keras's ReduceLROnPlateau, in addition to the "
    'schedule.',
    _PLATEAU,
  ),
  'batch_norm': ('How BatchNorm takes its statistics.', _BATCH_NORM),
  'evaluate': ('Validation, and the evaluation at the end.', _EVALUATE),
  'profile': ('A recording of some updates, to see where the time goes.', _PROFILE),
  'checkpoint': ('When checkpoints are saved, and which are kept.', _CHECKPOINT),
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
