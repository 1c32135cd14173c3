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
  declare('name', 'cifar10', TEXT)("A TFDS data set, 'folder', or 'synthetic' (built in)."),
  free('dir', '', TEXT)(
    "The folder, archive or .npz of the data; '': $CIFAR_JAX_DATA and the usual places."
  ),
  declare('validation', '0.1', TEXT)(
    "The fraction or number of training images that are held out; 'test': the test set is used."
  ),
  declare('validation_from', 'random', one_of('random', 'last'))(
    "Which images are held out: 'random' (seeded) or 'last' (the end of the arrays)."
  ),
  declare('keep_duplicates_together', False, BOOLEAN)(
    'Whether equal images are held out together.'
  ),
  declare('keep_groups_together', False, BOOLEAN, since=2)(
    'Whether images of one group, such as a patient, are held out together: `groups` of an .npz, '
    'or folder.group_pattern.'
  ),
  declare('stratified', False, BOOLEAN, since=2)(
    'Whether of each class its share is held out, to an image by the largest remainders; with '
    'groups that stay together, as nearly as they allow.'
  ),
  declare('folds', 0, _FOLDS, since=2)(
    'The number of parts into which the training images are divided, drawn from the seed, of which '
    '`fold` is held out in place of what `validation` says; 0: none.'
  ),
  declare('fold', 0, integer(0), since=2)('The number, from 0, of the part that is held out.'),
  declare('sampling', 'shuffle', one_of('shuffle', 'balanced'), since=2)(
    "Which training images an epoch sees: 'shuffle' each once; 'balanced' as many, each drawn with "
    'replacement from a class that is drawn, all classes being equally likely.'
  ),
  declare('drop_remainder', False, BOOLEAN, since=2)(
    'Whether the short last batch of an epoch is left out; otherwise it is masked.'
  ),
  declare('channels', 0, _CHANNELS)(
    '1 makes images gray, 3 repeats gray channels, 0 does neither.'
  ),
  declare('pad_to', 0, integer(0), 'pixels')(
    'The side of a black square with each image in its middle; 0: images stay as they are.'
  ),
  free('placement', 'device', one_of('device', 'host'))(
    "'device' keeps all images on every device; 'host' sends them a few batches ahead."
  ),
  declare('normalize', 'given', one_of('given', 'channel', 'zca'))(
    "How images are normalized after scaling to 0..1: 'given' by mean and std; 'channel' by those "
    "of each channel of the training images; 'zca' by ZCA whitening from the training images."
  ),
  declare('mean', (0.0,), numbers(ANY_NUMBER))(
    'What is subtracted: one number, or one per channel.'
  ),
  declare('std', (1.0,), numbers(_ABOVE_0))(
    'What is divided by after that: one number, or one per channel.'
  ),
  declare('zca_images', 10000, integer(1), 'images')(
    'The first training images, from which ZCA is computed.'
  ),
  declare('zca_epsilon', 1e-6, POSITIVE)('What is added to the variances of ZCA.'),
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
    'A regular expression that is looked for in the name of each file: what its first parentheses '
    "match, or all of it, is the group of the image, as in 'patient(\\d+)'; '': no groups."
  ),
  declare('max_megapixels', 64.0, POSITIVE, 'megapixels')(
    'Larger images count as damaged, and are not decoded.'
  ),
  free('cache', True, BOOLEAN)(
    'Whether images are decoded once and kept on disk; otherwise they are decoded in each epoch by '
    "worker processes, data.placement 'host'."
  ),
  free('workers', 0, integer(0, 1024))(
    'The number of threads or processes that decode; 0: one per processor core.'
  ),
)

_HALF = number('from 0 to 0.5', lambda value: 0 <= value <= 0.5, (0, 0.5), (-0.1, 0.6, 1))
_UNIT = number('from 0 to 1', lambda value: 0 <= value <= 1, (0, 1, 0.25), (-0.1, 1.1))
AUGMENT = (
  declare('from_epoch', 0, integer(0), 'epochs')(
    'The first epoch with augmentation, from 0; mixup and cutmix do not wait.'
  ),
  declare('flip', 'none', one_of('none', 'random', 'alternating'))(
    "Flips left to right: 'random' with probability 1/2; 'alternating' in every other epoch, for "
    'each image the even or the odd ones at random.'
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
    'Brightness is changed by a factor from 1 - brightness to 1 + brightness; 0: it is not.'
  ),
  declare('contrast', 0.0, NOT_NEGATIVE)(
    'Contrast is changed by a factor from 1 - contrast to 1 + contrast.'
  ),
  declare('saturation', 0.0, NOT_NEGATIVE)(
    'Saturation is changed by a factor from 1 - saturation to 1 + saturation.'
  ),
  declare('hue', 0.0, _HALF)('Hue is turned to either side by up to this part of the circle.'),
  declare('brightness_shift', 0.0, NOT_NEGATIVE, since=2)(
    'A number up to this to either side is added to each normalized image; 0: none.'
  ),
  declare('contrast_scale', 0.0, NOT_NEGATIVE, since=2)(
    'Each normalized image is multiplied by a factor from 1 - this to 1 + this, after that; 0: it '
    'is not.'
  ),
  declare('policy', 'none', one_of('none', 'randaugment', 'trivialaugment'))(
    'The policy of operations.'
  ),
  declare('policy_operations', 2, integer(1, 100), 'operations')(
    'How many randaugment applies per image.'
  ),
  declare('policy_magnitude', 9, integer(0, 30))('The magnitude of the operations of randaugment.'),
  declare('cutout', 0, integer(0), 'pixels')(
    'The side of a box at a random place that is set to 0, the mean after normalization; 0: none.'
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
    "The convolution of the images that gets its kernel from the data; '': none."
  ),
  declare('images', 5000, integer(1), 'images')(
    'The first training images, from which the kernel is computed.'
  ),
  declare('epsilon', 5e-4, POSITIVE)('What is added to the eigenvalues.'),
)
