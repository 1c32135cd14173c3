"""What each option of a config may be, whatever the rule, network or schedule; options of those are
checked where they are chosen.
"""

from collections.abc import Mapping
from typing import Any

from cifar_jax.schema.registry import BELOW_ONE, BOOLEAN, NOT_NEGATIVE, POSITIVE, Check, is_number
from cifar_jax.training.monitor import COUNTING, MONITORS

_LARGEST = 2**31 - 1  # that an array of numbers can count


def _whole(lowest: int, highest: int = _LARGEST) -> Check:
  def holds(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest

  return Check(holds, f'a whole number from {lowest} to {highest}')


def _one_of(*names: str) -> Check:
  return Check(lambda value: value in names, ' or '.join(repr(name) for name in names))


def _numbers(check: Check) -> Check:
  def holds(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(check.holds(v) for v in value)

  return Check(holds, f'a tuple, each {check.wording}')


_TEXT = Check(lambda value: isinstance(value, str), 'text')
_NUMBER = Check(is_number, 'a number')
CHECKS: Mapping[str, Check] = {
  'seed': _whole(0, 2**32 - 1),
  'epochs': _whole(1),
  'max_steps': _whole(0),
  'batch_size': _whole(1),
  'gradient_accumulation': _whole(1),
  'parallel': _one_of('jit', 'pmap'),
  'uneven_batch': _one_of('error', 'pad'),
  'devices': _whole(0),
  'steps_per_dispatch': _whole(0),
  'start_from': _TEXT,
  'tags': Check(
    lambda value: isinstance(value, tuple) and all(isinstance(tag, str) for tag in value),
    'a tuple of words',
  ),
  'tensorboard': BOOLEAN,
  'data.name': _TEXT,
  'data.dir': _TEXT,
  'data.validation': _TEXT,
  'data.validation_from': _one_of('random', 'last'),
  'data.keep_duplicates_together': BOOLEAN,
  'data.last_batch': _one_of('keep', 'drop'),
  'data.channels': Check(lambda value: value in (0, 1, 3) and is_number(value), '0, 1 or 3'),
  'data.pad_to': _whole(0),
  'data.placement': _one_of('device', 'host'),
  'data.normalize': _one_of('given', 'channel', 'zca'),
  'data.zca_images': _whole(1),
  'data.zca_epsilon': POSITIVE,
  'data.mean': _numbers(_NUMBER),
  'data.std': _numbers(Check(lambda value: is_number(value) and value > 0, 'above 0')),
  'data.folder.image_size': Check(
    lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_whole(1).holds, value)),
    'height and width in pixels, as (150, 150)',
  ),
  'data.folder.resize': _one_of('stretch', 'crop', 'pad'),
  'data.folder.interpolation': _one_of('nearest', 'bilinear', 'lanczos'),
  'data.folder.damaged': _one_of('error', 'skip'),
  'data.folder.max_megapixels': POSITIVE,
  'data.folder.cache': BOOLEAN,
  'data.folder.workers': _whole(0, 1024),
  'augment.from_epoch': _whole(0),
  'augment.flip': _one_of('none', 'random', 'alternating'),
  'augment.vertical_flip': BOOLEAN,
  'augment.crop_padding': _whole(0),
  'augment.crop_border': _one_of('reflect', 'zero'),
  'augment.rotation': NOT_NEGATIVE,
  'augment.height_shift': NOT_NEGATIVE,
  'augment.width_shift': NOT_NEGATIVE,
  'augment.shear': NOT_NEGATIVE,
  'augment.zoom': BELOW_ONE,
  'augment.interpolation': _one_of('nearest', 'bilinear'),
  'augment.border': _one_of('nearest', 'reflect', 'wrap', 'zero'),
  'augment.brightness': NOT_NEGATIVE,
  'augment.contrast': NOT_NEGATIVE,
  'augment.saturation': NOT_NEGATIVE,
  'augment.hue': Check(lambda value: is_number(value) and 0 <= value <= 0.5, 'from 0 to 0.5'),
  'augment.policy': _one_of('none', 'randaugment', 'trivialaugment'),
  'augment.policy_operations': _whole(1, 100),
  'augment.policy_magnitude': _whole(0, 30),
  'augment.cutout': _whole(0),
  'augment.erasing': Check(lambda value: is_number(value) and 0 <= value <= 1, 'from 0 to 1'),
  'augment.mixup': NOT_NEGATIVE,
  'augment.cutmix': NOT_NEGATIVE,
  'whitening.layer': _TEXT,
  'whitening.images': _whole(1),
  'whitening.epsilon': POSITIVE,
  'batch_norm.ghost_rows': _whole(0),
  'early_stopping.patience': _whole(0),
  'early_stopping.monitor': _one_of(*MONITORS),
  'early_stopping.min_delta': NOT_NEGATIVE,
  'early_stopping.counting': _one_of(*COUNTING),
  'plateau.patience': _whole(0),
  'plateau.monitor': _one_of(*MONITORS),
  'plateau.factor': Check(lambda value: is_number(value) and 0 < value < 1, 'between 0 and 1'),
  'plateau.min_delta': NOT_NEGATIVE,
  'plateau.cooldown': _whole(0),
  'plateau.min_learning_rate': NOT_NEGATIVE,
  'plateau.counting': _one_of(*COUNTING),
  'evaluate.last_batch': _one_of('keep', 'drop'),
  'evaluate.tta': _one_of('none', 'flip', 'flip_translate'),
  'evaluate.every_epochs': _whole(0),
  'evaluate.pictures_every_epochs': _whole(0),
  'evaluate.mistakes': _whole(-1),
  'loss.label_smoothing': Check(
    lambda value: is_number(value) and 0 <= value < 1, 'a number in [0, 1)'
  ),
  'loss.class_weights': Check(
    lambda value: value == () or (_numbers(NOT_NEGATIVE).holds(value) and any(value)),
    'a tuple of numbers not below 0, one a class, of which one at least is above 0',
  ),
  'loss.l1': NOT_NEGATIVE,
  'loss.l2': NOT_NEGATIVE,
  'profile.steps': _whole(0),
  'profile.after_steps': _whole(0),
  'checkpoint.every_epochs': _whole(0),
  'checkpoint.every_steps': _whole(0),
  'checkpoint.keep': _whole(1),
  'checkpoint.best': _one_of('val_accuracy', 'val_loss'),
}
