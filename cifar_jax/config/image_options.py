"""The part of the table in `options` that is about images: data, augmentation, whitening."""

from cifar_jax.schema.constraints import (
  ANY_NUMBER,
  BELOW_ONE,
  BOOLEAN,
  NOT_NEGATIVE,
  POSITIVE,
  TEXT,
  Constraint,
  integer,
  is_number,
  number,
  numbers,
  one_of,
  regular_expression,
)
from cifar_jax.schema.options import declare, free

_CHANNELS = Constraint(
  lambda value: value in (0, 1, 3) and is_number(value),
  '0, 1 or 3',
  int,
  (0, 1, 3),
  (2, -1, 1.5, '1', None, True),
)
_FOLDS = Constraint(
  lambda value: value != 1 and integer(0, 1000).test(value),
  '0 or a whole number from 2 to 1000',
  int,
  (0, 2, 1000),
  (1, -1, 1001, 2.5, '5', None, True),
)
_ABOVE_0 = number('above 0', lambda value: value > 0, (0.5, 1), (0.0, -1.0))
DATA = (
  declare('name', 'cifar10', TEXT)(
    "The name of a data set, 'folder' (image files, one folder per class), 'csv' (image files "
    "listed with their labels in a table), or 'synthetic' (built in)."
  ),
  free('dir', '', TEXT)(
    "The folder, archive, .npz or table of the data; '': $CIFAR_JAX_DATA and the usual places."
  ),
  declare('multi_label', False, BOOLEAN, since=2)(
    'Whether an image may have several labels or none, each decided on its own. Labels in a table '
    'are then separated at semicolons and bars. Labels given as columns of 0 and 1 are treated '
    'this way in any case if an image does not have exactly one.'
  ),
  declare('validation', '0.1', TEXT)(
    "The fraction or number of training images that are held out for validation; 'test': the test "
    'set is used as validation.'
  ),
  declare('validation_from', 'random', one_of('random', 'last'))(
    "Which images are held out: 'random' (seeded) or 'last' (the end of the arrays)."
  ),
  declare('keep_duplicates_together', False, BOOLEAN)(
    'Whether identical images are kept on the same side of the split.'
  ),
  declare('keep_groups_together', False, BOOLEAN, since=2)(
    'Whether images of one group, such as a patient, are kept on the same side of the split. '
    'Groups are a column of a table, `groups` in an .npz file, or what folder.group_pattern finds.'
  ),
  declare('stratified', False, BOOLEAN, since=2)(
    'Whether the same share of each class is held out, exact to an image by largest remainders; if '
    'groups are kept together, as nearly as they allow.'
  ),
  declare('folds', 0, _FOLDS, since=2)(
    'The number of parts, drawn with the seed, into which the training images are divided. The '
    'part `fold` is held out, and `validation` is ignored; 0: none.'
  ),
  declare('fold', 0, integer(0), since=2)('Which part is held out, counting from 0.'),
  declare('sampling', 'shuffle', one_of('shuffle', 'balanced'), since=2)(
    "Which training images an epoch sees. 'shuffle': each once; 'balanced': the same number, each "
    'drawn with replacement from a class drawn at random, so that all classes are equally likely.'
  ),
  declare('drop_remainder', False, BOOLEAN, since=2)(
    'Whether an incomplete last batch of an epoch is left out; otherwise it is filled with rows '
    'that do not count.'
  ),
  declare('channels', 0, _CHANNELS)(
    '1 makes images gray, 3 repeats gray channels, 0 does neither.'
  ),
  declare('pad_to', 0, integer(0), 'pixels')(
    'The side of a black square into whose middle each image is put; 0: images stay as they are.'
  ),
  free('placement', 'device', one_of('device', 'host'))(
    "Where images are kept: 'device' is the memory of every device; 'host' is the memory of the "
    'host, which sends batches a few steps ahead.'
  ),
  declare('normalize', 'given', one_of('given', 'channel', 'zca'))(
    "How images are normalized after scaling to 0..1: 'given', by the options mean and std; "
    "'channel', by the mean and deviation of each channel of the training images; 'zca', by ZCA "
    'whitening fitted to the training images.'
  ),
  declare('mean', (0.0,), numbers(ANY_NUMBER))(
    'What is subtracted: one number, or one per channel.'
  ),
  declare('std', (1.0,), numbers(_ABOVE_0))(
    'What the difference is divided by: one number, or one per channel.'
  ),
  declare('zca_images', 10000, integer(1), 'images')(
    'How many of the first training images ZCA is computed from.'
  ),
  declare('zca_epsilon', 1e-6, POSITIVE)('What is added to the variances in ZCA.'),
)

_SIZE = Constraint(
  lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(integer(1).test, value)),
  'height and width in pixels, as (150, 150)',
  tuple,
  ((1, 1), (150, 99)),
  ((150,), (0, 5), (5, 5.0), (1, 2, 3), 32, None),
)
_PATTERN = regular_expression('a regular expression', ('', '^[^_]+'))
FOLDER = (
  declare('image_size', (32, 32), _SIZE, 'pixels')('The height and width of the inputs.'),
  declare('resize', 'stretch', one_of('stretch', 'crop', 'pad'))(
    "How images get that size: 'stretch', 'crop' (center) or 'pad' (black bars)."
  ),
  declare('interpolation', 'bilinear', one_of('nearest', 'bilinear', 'lanczos'))(
    'The method of resizing.'
  ),
  declare('damaged', 'error', one_of('error', 'skip'))(
    "'error' stops at a file that cannot be decoded; 'skip' leaves it out."
  ),
  declare('group_pattern', '', _PATTERN, since=2)(
    "A regular expression that is searched for in the name of each file, such as 'patient(\\d+)'. "
    "The match of its first parentheses, or the whole match, is the group of the image; '': no "
    'groups.'
  ),
  declare('max_megapixels', 64.0, POSITIVE, 'megapixels')(
    'The largest size of an image; larger ones count as damaged and are not decoded.'
  ),
  free('cache', True, BOOLEAN)(
    'Whether images are decoded once and kept on disk; otherwise worker processes decode them in '
    "each epoch, which needs data.placement 'host'."
  ),
  free('workers', 0, integer(0, 1024))(
    'The number of threads or processes that decode; 0: one per processor core.'
  ),
)

_HALF = number('from 0 to 0.5', lambda value: 0 <= value <= 0.5, (0, 0.5), (-0.1, 0.6, 1))
_UNIT = number('from 0 to 1', lambda value: 0 <= value <= 1, (0, 1, 0.25), (-0.1, 1.1))
AUGMENT = (
  declare('from_epoch', 0, integer(0), 'epochs')(
    'The first epoch with augmentation, counting from 0; mixup and cutmix do not wait for it.'
  ),
  declare('flip', 'none', one_of('none', 'random', 'alternating'))(
    "Flips left to right: 'random', with probability 1/2; 'alternating', in every other epoch, "
    'where a coin decides for each image whether those are the even or the odd ones.'
  ),
  declare('vertical_flip', False, BOOLEAN)('Whether to flip upside down with probability 1/2.'),
  declare('rotation', 0.0, NOT_NEGATIVE, 'degrees')(
    'The largest rotation to either side, in one affine map with the four below; 0: none.'
  ),
  declare('height_shift', 0.0, NOT_NEGATIVE, 'of the height')('The largest shift up or down.'),
  declare('width_shift', 0.0, NOT_NEGATIVE, 'of the width')('The largest shift sideways.'),
  declare('shear', 0.0, NOT_NEGATIVE, 'radians')('The largest shear to either side.'),
  declare('zoom', 0.0, BELOW_ONE)(
    'Rows and columns are scaled by factors from 1 - zoom to 1 + zoom.'
  ),
  declare('interpolation', 'bilinear', one_of('nearest', 'bilinear'))(
    'The method of the affine map.'
  ),
  declare('border', 'nearest', one_of('nearest', 'reflect', 'wrap', 'zero'))(
    "What fills the outside of the image: the 'nearest' pixel, 'reflect', 'wrap' or 'zero'."
  ),
  declare('crop_padding', 0, integer(0), 'pixels')(
    'The border added before a random crop of the old size; 0: none.'
  ),
  declare('crop_border', 'reflect', one_of('reflect', 'zero'))(
    "The border of the crop; 'zero': black."
  ),
  declare('brightness', 0.0, NOT_NEGATIVE)(
    'Brightness is multiplied by a factor from 1 - brightness to 1 + brightness; 0: unchanged.'
  ),
  declare('contrast', 0.0, NOT_NEGATIVE)(
    'Contrast is multiplied by a factor from 1 - contrast to 1 + contrast; 0: unchanged.'
  ),
  declare('saturation', 0.0, NOT_NEGATIVE)(
    'Saturation is multiplied by a factor from 1 - saturation to 1 + saturation; 0: unchanged.'
  ),
  declare('hue', 0.0, _HALF)(
    'Hue is rotated to either side by up to this fraction of the color circle.'
  ),
  declare('brightness_shift', 0.0, NOT_NEGATIVE, since=2)(
    'A number from -this to +this is added to each normalized image; 0: none.'
  ),
  declare('contrast_scale', 0.0, NOT_NEGATIVE, since=2)(
    'Each normalized image is then multiplied by a factor from 1 - this to 1 + this; 0: unchanged.'
  ),
  declare('policy', 'none', one_of('none', 'randaugment', 'trivialaugment'))(
    'A published policy of random operations.'
  ),
  declare('policy_operations', 2, integer(1, 100), 'operations')(
    'How many operations randaugment applies to each image.'
  ),
  declare('policy_magnitude', 9, integer(0, 30))('The magnitude of the operations of randaugment.'),
  declare('cutout', 0, integer(0), 'pixels')(
    'The side of a box at a random place that is set to 0, which is the mean after normalization; '
    '0: none.'
  ),
  declare('erasing', 0.0, _UNIT)(
    'The probability of a box of random size and shape that is set to 0.'
  ),
  declare('mixup', 0.0, NOT_NEGATIVE)(
    'Alpha of the Beta distribution of the weights of two images; 0: none.'
  ),
  declare('cutmix', 0.0, NOT_NEGATIVE)(
    'Alpha of the Beta distribution of the area of a box that another image fills; 0: none. With '
    'mixup, one of the two is drawn for each image.'
  ),
)

WHITENING = (
  declare('layer', '', TEXT)(
    "The name of the first convolution, whose kernel is computed from the data; '': none."
  ),
  declare('images', 5000, integer(1), 'images')(
    'How many of the first training images the kernel is computed from.'
  ),
  declare('epsilon', 5e-4, POSITIVE)('What is added to the eigenvalues.'),
)
