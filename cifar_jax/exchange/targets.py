"""What a network can be exported to.

Each target is a module of this package with two functions:

* `write(network, folder, options) -> Written` writes the network into an empty folder. What it gets
  computes in float32 (see `exported.in_float32`).
* `open_exported(folder, options) -> Predict` opens what is in such a folder in the software that it
  is for, and nothing of this package's networks.

What every export takes and gives is the same: see `Options`.
"""

import dataclasses
import importlib
import importlib.metadata
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the command line lists the targets, and --help of any verb comes at once
  import numpy as np

  from cifar_jax.predict.classifier import Classifier

# Images as the export takes them [N, H, W, C] -> what it gives, float32 [N, classes].
Predict = Callable[['np.ndarray'], 'np.ndarray']

PREPROCESSING = ('inside', 'beside')
OUTPUTS = ('logits', 'probabilities')
MODEL_FOLDER = 'safetensors'  # the target that writes what every command takes as RUN


@dataclasses.dataclass(frozen=True)
class Options:
  """What an export takes and gives; N is free.

  Attributes:
    preprocessing: 'inside': it takes images uint8 [N, H, W, C], 0..255, and normalizes them;
      'beside': it takes them normalized, float32 [N, H, W, C], by the numbers in export.json.
    output: 'logits' or 'probabilities' (of the classes, as the run has them), float32 [N, classes].
  """

  preprocessing: str = 'inside'
  output: str = 'logits'

  @property
  def input_dtype(self) -> str:
    """The dtype of the images that it takes."""
    return 'uint8' if self.preprocessing == 'inside' else 'float32'


@dataclasses.dataclass(frozen=True)
class Written:
  """What a target wrote.

  Attributes:
    main: The name of the file that is opened, in the folder.
    notes: Sentences for whoever opens it, printed and kept in export.json.
    details: Facts of this target alone for export.json, such as the opset, or the 'input' where it
      is another one than `Options` say.
  """

  main: str
  notes: tuple[str, ...] = ()
  details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class TargetModule(Protocol):
  """The module of a target."""

  def write(self, network: 'Classifier', folder: pathlib.Path, options: Options) -> Written:
    """Writes the network into an empty folder.

    Raises:
      UserError: It cannot be exported; the message names the layer that is the reason.
    """

  def open_exported(self, folder: pathlib.Path, options: Options) -> Predict:
    """Opens what `write` wrote in the other software, on the processor."""


@dataclasses.dataclass(frozen=True)
class Target:
  """Something that a network can be exported to.

  Attributes:
    module: The name of its module in this package.
    about: What it is, half a line.
    packages: The packages beside JAX and Flax that write it and open it, whose versions are told.
    tolerance: The largest difference of an output from ours, as a part of the largest output, with
      which an export counts as equal; both compute in float32.
    only_as: The options that it has, where it has not all.
  """

  module: str
  about: str
  packages: tuple[str, ...]
  tolerance: float = 1e-4
  only_as: Options | None = None

  def load(self) -> TargetModule:
    """The module, imported now."""
    module: Any = importlib.import_module(f'{__package__}.{self.module}')
    return module

  def versions(self) -> dict[str, str]:
    """The versions of JAX and Flax, and of its packages that are installed."""
    found = {}
    for package in dict.fromkeys(('jax', 'flax', *self.packages)):
      try:
        found[package] = importlib.metadata.version(package)
      except importlib.metadata.PackageNotFoundError:
        continue
    return found


TARGETS: Mapping[str, Target] = {
  'keras': Target(
    'keras_export', 'one .keras file, which Keras 3 opens on any backend', ('keras', 'h5py')
  ),
  'keras-h5': Target('keras_h5_export', 'one .h5 file, the older form of Keras', ('keras', 'h5py')),
  'onnx': Target(
    'onnx_export',
    'one .onnx file, for ONNX Runtime and others',
    ('onnx', 'jax2onnx', 'onnxruntime'),
  ),
  MODEL_FOLDER: Target(
    'safetensors_export',
    'a model folder: weights by name, which every command here takes as RUN',
    (),
    only_as=Options(),
  ),
  'stablehlo': Target(
    'stablehlo_export',
    'one file that JAX alone opens, on CPU, CUDA and TPU, without this package',
    ('jaxlib',),
  ),
  'torch': Target(
    'torch_export',
    'a PyTorch state dict, and a model.py that defines the network with PyTorch alone',
    ('torch',),
    only_as=Options(),
  ),
}
