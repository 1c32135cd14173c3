"""Arrays by dtype and shape, for the borders of rooms.

The tests check them whenever such a function is called or traced (tests/helpers/array_checks.py):
within a call, an axis of one name has one length. Outside of tests they are annotations and cost
nothing.
"""

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, Key, Real, Shaped, UInt8, UInt16

if TYPE_CHECKING:
  Array = jax.Array
else:
  Array = jax.Array | np.ndarray  # JAX takes both

RandomKey = Key[jax.Array, '']  # of `jax.random.key`
Scalar = Float32[Array, '']
Step = Int32[Array, ''] | int  # a count of updates or epochs

Images = Float32[Array, 'batch height width channels']  # in 0..1 or normalized
Pixels = UInt8[Array, 'batch height width channels']
# A whole data set, as images or, on TPU, as rows of pixels.
StoredImages = (
  UInt8[Array, 'examples height width channels']
  | Float32[Array, 'examples height width channels']
  | UInt8[Array, 'examples row']
)
Filters = Float32[Array, 'rows columns channels filters']  # of a convolution

Elements = Float[Array, '*shape']  # whose shape is kept
AnyFloats = Float[Array, '...']  # of any shape
Maps = Float[Array, 'batch height width channels']  # between layers
PooledMaps = Float[Array, 'batch new_height new_width channels']
NewMaps = Float[Array, 'batch new_height new_width features']
PointwiseMaps = Float[Array, 'batch height width features']
Kernel = Float[Array, 'window_height window_width group_channels features']
PerFeature = Float[Array, 'features']
PerChannel = Float[Array, 'channels']
BatchRows = Float[Array, 'batch *positions channels']
Rows = Float[Array, '*rows channels']
Inputs = Float[Array, '*rows inputs']  # of a dense layer
Outputs = Float[Array, '*rows outputs']
Vectors = Float[Array, 'batch features']
ChannelVectors = Float[Array, 'batch channels']
ClassLogits = Float32[Array, 'batch classes']
MapsOrLogits = NewMaps | ClassLogits
Tokens = Float[Array, 'batch tokens token_length']
UnitWeights = Float[Array, '*window units']  # those of a unit over all axes but the last
Matrix = Float[Array, 'rows columns']
Booleans = Bool[Array, '*shape']

Indices = Int32[Array, 'batch']  # in the training set, or in the batch
# In 0..classes - 1, or 0 and 1 for each class.
Labels = Int32[Array, 'batch'] | UInt8[Array, 'batch classes']
Mask = Bool[Array, 'batch']  # False for rows that only fill the batch
PerExample = Float32[Array, 'batch']
Logits = Float[Array, 'batch classes']
Features = Float32[Array, 'batch features']
HeatMaps = Float32[Array, 'batch rows columns']

# With the host, of a whole split.
Probabilities = Float[np.ndarray, 'examples classes']
MultiHot = UInt8[np.ndarray, 'examples classes']  # 0 and 1 for each class
Classes = Int[np.ndarray, 'examples']  # true or predicted ones, in 0..classes - 1
PerRow = Shaped[np.ndarray, 'examples ...']
Confusion = Int[np.ndarray, 'classes classes']  # rows are true classes, columns predicted ones
ClassProbabilities = Float[np.ndarray, 'classes']  # of one example

# With the host, of any shape.
UpperHalves = UInt16[np.ndarray, '*shape']  # of float32 numbers: bfloat16
Numbers = Float32[np.ndarray, '*shape']

# With the host, as people see them.
Image = UInt8[np.ndarray, 'height width channels']
ColorImage = UInt8[np.ndarray, 'height width 3']
HostKernel = Float32[np.ndarray, 'rows columns channels filters']
Sheet = UInt8[np.ndarray, 'rows columns channels']  # made of images, or of the filters of a kernel
Map = Real[np.ndarray, 'height width']  # of any numbers
SmallMap = Real[np.ndarray, 'rows columns']
FullConvolution = Float32[np.ndarray, 'height+rows-1 width+columns-1']  # of these two
