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
)
from cifar_jax.schema.options import Option

_CHANNELS = Constraint(
  lambda value: value in (0, 1, 3) and is_number(value),
  '0, 1 or 3',
  int,
  (0, 1, 3),
  (2, -1, 1.5, '1', None, True),
)
_ABOVE_0 = number('above 0', lambda value: value > 0, (0.5, 1), (0.0, -1.0))
DATA = (
  Option('name', 'cifar10', TEXT, "A TFDS name, 'folder', or 'synthetic' (built in)."),
  Option(
    'dir',
    '',
    TEXT,
    "Folder, archive or .npz; '': $CIFAR_JAX_DATA and the usual places.",
    resumable=True,
    neutral=True,
  ),
  Option(
    'validation',
    '0.1',
    TEXT,
    "What is held out of the training set: a fraction or a count; 'test': the test set.",
  ),
  Option(
    'validation_from',
    'random',
    one_of('random', 'last'),
    "Which images are: 'random' (seeded) or 'last' (the end of the arrays).",
  ),
  Option(
    'keep_duplicates_together', False, BOOLEAN, 'Whether equal images are held out all or none.'
  ),
  Option(
    'drop_remainder',
    False,
    BOOLEAN,
    'Whether the short last batch of an epoch is left out; otherwise it is masked.',
    since=2,
  ),
  Option('channels', 0, _CHANNELS, '1: made gray; 3: gray images repeated; 0: as they are.'),
  Option(
    'pad_to',
    0,
    integer(0),
    'Side of a square with each image in its middle; 0: as it is.',
    'pixels',
  ),
  Option(
    'placement',
    'device',
    one_of('device', 'host'),
    "'device': all images on every device; 'host': a few batches ahead.",
    resumable=True,
    neutral=True,
  ),
  Option(
    'normalize',
    'given',
    one_of('given', 'channel', 'zca'),
    "After scaling to 0..1, 'given': by mean and std; 'channel': by those of each channel of the "
    "training images; 'zca': whitened by the training images.",
  ),
  Option('mean', (0.0,), numbers(ANY_NUMBER), 'Subtracted; one number, or one for each channel.'),
  Option('std', (1.0,), numbers(_ABOVE_0), 'Divided by after that; one, or one for each channel.'),
  Option(
    'zca_images', 10000, integer(1), 'The first of the training set, from which ZCA is.', 'images'
  ),
  Option('zca_epsilon', 1e-6, POSITIVE, 'Added to the variances of ZCA.'),
)

_SIZE = Constraint(
  lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(integer(1).test, value)),
  'height and width in pixels, as (150, 150)',
  tuple,
  ((1, 1), (150, 99)),
  ((150,), (0, 5), (5, 5.0), (1, 2, 3), 32, None),
)
FOLDER = (
  Option('image_size', (32, 32), _SIZE, 'Height and width of the inputs.', 'pixels'),
  Option(
    'resize',
    'stretch',
    one_of('stretch', 'crop', 'pad'),
    "'stretch', 'crop' (center) or 'pad' (black bars).",
  ),
  Option(
    'interpolation', 'bilinear', one_of('nearest', 'bilinear', 'lanczos'), 'How it is resized.'
  ),
  Option(
    'damaged',
    'error',
    one_of('error', 'skip'),
    "'skip': files that cannot be decoded are left out.",
  ),
  Option(
    'max_megapixels', 64.0, POSITIVE, 'A larger image counts as damaged, undecoded.', 'megapixels'
  ),
  Option(
    'cache',
    True,
    BOOLEAN,
    'Whether images are decoded once and kept on disk; otherwise they are decoded in each epoch by '
    "worker processes, data.placement 'host'.",
    resumable=True,
    neutral=True,
  ),
  Option(
    'workers',
    0,
    integer(0, 1024),
    'Threads or processes that decode; 0: one for each processor core.',
    resumable=True,
    neutral=True,
  ),
)

_HALF = number('from 0 to 0.5', lambda value: 0 <= value <= 0.5, (0, 0.5), (-0.1, 0.6, 1))
_UNIT = number('from 0 to 1', lambda value: 0 <= value <= 1, (0, 1, 0.25), (-0.1, 1.1))
AUGMENT = (
  Option(
    'from_epoch',
    0,
    integer(0),
    'The first epoch with augmentation, from 0; mixup and cutmix do not wait.',
    'epochs',
  ),
  Option(
    'flip',
    'none',
    one_of('none', 'random', 'alternating'),
    "Left-right, 'random': with probability 1/2; 'alternating': each image in every other epoch, a "
    'coin decides in which.',
  ),
  Option('vertical_flip', False, BOOLEAN, 'Upside down with probability 1/2.'),
  Option(
    'rotation',
    0.0,
    NOT_NEGATIVE,
    'Most that an image is turned to either side, in one affine map with the four below; 0: not.',
    'degrees',
  ),
  Option('height_shift', 0.0, NOT_NEGATIVE, 'Most that it is moved up or down.', 'of the height'),
  Option('width_shift', 0.0, NOT_NEGATIVE, 'Most that it is moved sideways.', 'of the width'),
  Option('shear', 0.0, NOT_NEGATIVE, 'Most that it is sheared to either side.', 'radians'),
  Option(
    'zoom', 0.0, BELOW_ONE, 'Rows and columns are scaled by factors from 1 - zoom to 1 + zoom.'
  ),
  Option('interpolation', 'bilinear', one_of('nearest', 'bilinear'), 'Of the affine map.'),
  Option(
    'border',
    'nearest',
    one_of('nearest', 'reflect', 'wrap', 'zero'),
    "What comes in from outside: the 'nearest' pixel, 'reflect', 'wrap' or 'zero'.",
  ),
  Option(
    'crop_padding', 0, integer(0), 'Border, then a random crop of the old size; 0: none.', 'pixels'
  ),
  Option('crop_border', 'reflect', one_of('reflect', 'zero'), "What it is of; 'zero': black."),
  Option(
    'brightness',
    0.0,
    NOT_NEGATIVE,
    'Changed by a factor from 1 - brightness to 1 + brightness; 0: not.',
  ),
  Option('contrast', 0.0, NOT_NEGATIVE, 'Changed by a factor in the same way.'),
  Option('saturation', 0.0, NOT_NEGATIVE, 'Changed by a factor in the same way.'),
  Option('hue', 0.0, _HALF, 'Turned to either side by up to this part of the circle.'),
  Option(
    'policy', 'none', one_of('none', 'randaugment', 'trivialaugment'), 'A policy of operations.'
  ),
  Option('policy_operations', 2, integer(1, 100), 'Of randaugment, for each image.', 'operations'),
  Option('policy_magnitude', 9, integer(0, 30), 'Of randaugment.'),
  Option(
    'cutout',
    0,
    integer(0),
    'Side of a box somewhere in the image that is set to 0, the mean after normalization; 0: none.',
    'pixels',
  ),
  Option('erasing', 0.0, _UNIT, 'Probability of a box of random size and shape that is set to 0.'),
  Option('mixup', 0.0, NOT_NEGATIVE, 'Alpha of the weights of two images; 0: none.'),
  Option(
    'cutmix',
    0.0,
    NOT_NEGATIVE,
    'Alpha of the area of a box that another image fills; 0: none; with mixup: either by a coin.',
  ),
)

WHITENING = (
  Option(
    'layer', '', TEXT, "A convolution of the images that gets its kernel from the data; '': none."
  ),
  Option(
    'images', 5000, integer(1), 'The first of the training set, from which it gets it.', 'images'
  ),
  Option('epsilon', 5e-4, POSITIVE, 'Added to the eigenvalues.'),
)
