"""Weights that other programs wrote, read into a network of ours: which reader a file has, and what
a model folder needs beside weights.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import data, models
from cifar_jax.analysis import layer_table
from cifar_jax.augment.normalize import Normalize, Statistics, fit_normalize
from cifar_jax.data.expected import known
from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.data.preprocessing import Preprocessing, of_arrays, of_folder
from cifar_jax.run_dir import model_folder
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import user_path

KERAS = ('.keras', '.h5', '.hdf5')
TORCH = ('.pth', '.pt', '.safetensors')
_NAMED = 12  # classes or numbers in a message


@dataclasses.dataclass(frozen=True)
class Imported:
  """What a file of weights holds.

  Attributes:
    variables: 'params' and 'batch_stats', nested like those of the network, NumPy, float32.
    normalization: How the network's inputs are normalized, where the file holds that too.
    remarks: What a person has to know of how the tensors were matched; a sentence each.
  """

  variables: dict[str, Any]
  normalization: Statistics | None = None
  remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Target:
  """The network that weights are read for.

  Attributes:
    shapes: Its variables, 'params' and 'batch_stats', as shapes.
    image_shape: The (H, W, C) of its inputs.
    epsilon: What BatchNorm adds to the variance in the other program; None: as it usually does.
  """

  config: ConfigDict
  module: nn.Module
  shapes: Mapping[str, Any]
  image_shape: tuple[int, int, int]
  epsilon: float | None = None


def read(path: pathlib.Path, target: Target) -> Imported:
  """Reads a file of weights into the variables of a network; nothing that it contains is run.

  Raises:
    UserError: no such file, no known kind, it is damaged, or it is of another network.
  """
  if not path.is_file():
    raise UserError(f'{path}: there is no such file of weights')
  suffix = path.suffix.lower()
  if suffix in TORCH:
    from cifar_jax.exchange import torch_import

    return torch_import.read(path, target)
  if suffix in KERAS:
    from cifar_jax.exchange import keras_import

    return keras_import.read(path, target)
  raise UserError(
    f'{path} is none of {", ".join((*KERAS, *TORCH))}, the files of weights that are read'
  )


def make_target(
  config: ConfigDict,
  class_names: Sequence[str],
  image_shape: tuple[int, int, int],
  epsilon: float | None = None,
) -> Target:
  """The network of a config; raises UserError where it cannot take such images."""
  module = models.create(config.model, len(class_names))
  blank = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  shapes = jax.eval_shape(
    lambda key, images: module.init(key, images, train=False), jax.random.key(0), blank
  )
  return Target(config, module, {'batch_stats': {}, **shapes}, image_shape, epsilon)


@dataclasses.dataclass(frozen=True)
class Subject:
  """What the data of a config say about a network's inputs and outputs.

  Attributes:
    class_names: The names of the classes, in the order of the logits.
    preprocessing: How image files become inputs.
    named_by: Where the names come from, in a few words.
  """

  class_names: tuple[str, ...]
  preprocessing: Preprocessing
  named_by: str


def subject_of(config: ConfigDict, labels: Sequence[str] = ()) -> Subject:
  """The classes and images of a config's data, which are opened only where nothing else tells.

  Args:
    labels: The names of the classes in the order of the logits, as the user gives them; () for
      those of the data.

  Raises:
    UserError: neither the config nor the labels nor data that are there tell.
  """
  said = known(config.data)
  if said is not None:
    preprocessing, names = of_arrays(config.data, said.image_shape), said.class_names
    source = f'the data set {config.data.name}'
  elif config.data.name == 'folder':
    preprocessing, names, source = of_folder(config.data), (), ''
    root = user_path(config.data.dir) if config.data.dir else None
    if not labels and root and root.is_dir():
      names, source = list_folder(root).class_names, f'the folders in {root}'
  else:
    splits = _data(config, 'its images and classes')
    names, source = splits.class_names, splits.source
    preprocessing = splits.preprocessing or of_arrays(config.data, splits.image_shape)
  if labels:
    return Subject(tuple(labels), preprocessing, '--labels')
  if not names:
    raise UserError(
      'the config does not say which classes there are; --labels=NAME,NAME,... names them in the '
      'order of the logits, or --config.data.dir where the data are'
    )
  return Subject(tuple(names), preprocessing, source)


def normalization_of(config: ConfigDict, channels: int) -> Normalize | Statistics:
  """The normalization of a config, whose training images are opened where it follows from them.

  Raises:
    UserError: they are not there.
  """
  if config.data.normalize == 'given':
    blank = jax.ShapeDtypeStruct((1, 1, 1, channels), jnp.uint8)
    return fit_normalize(config.data, blank)
  what = f"what --config.data.normalize='{config.data.normalize}' normalizes by"
  return fit_normalize(config.data, _data(config, what).train.images)


@dataclasses.dataclass(frozen=True)
class Model:
  """What a model folder holds, of a file of weights.

  Attributes:
    imported: What was read.
    subject: The classes and the images.
    normalized_by: Where the normalization comes from, in a few words.
    statistics: The normalization, where the config does not say it.
    config: Without the places of this machine.
    about: What about.json says.
  """

  imported: Imported
  subject: Subject
  normalized_by: str
  statistics: Statistics | None
  config: ConfigDict
  about: Mapping[str, Any]


def read_model(
  path: pathlib.Path,
  config: ConfigDict,
  labels: Sequence[str] = (),
  epsilon: float | None = None,
) -> Model:
  """Reads a file of weights as if it had been trained here by a config.

  Args:
    path: The file.
    config: Of the network, and of the data that it was trained on.
    labels: As of `subject_of`.
    epsilon: As of `Target`.

  Raises:
    UserError: the file cannot be read, or is of another network, or something is not known that a
      model folder needs.
  """
  subject = subject_of(config, labels)
  shape = subject.preprocessing.shape
  target = make_target(config, subject.class_names, shape, epsilon)
  imported = read(path, target)
  normalization, normalized_by = _normalization(path, config, imported, shape[2])
  network = layer_table.describe(target.module, shape)
  about = {
    'data': config.data.name,
    'class_names': list(subject.class_names),
    'image_shape': list(shape),
    'preprocessing': dataclasses.asdict(subject.preprocessing),
    'layers': len(network.layers),
    'parameters': network.parameters.trainable,
    'non_trainable_params': network.parameters.non_trainable,
    'macs': network.macs,
    **model_folder.facts_about(0, {}),
  }
  config, about = model_folder.without_places(config, about)
  statistics = normalization if isinstance(normalization, Statistics) else None
  return Model(imported, subject, normalized_by, statistics, config, about)


def _normalization(
  path: pathlib.Path, config: ConfigDict, imported: Imported, channels: int
) -> tuple[Normalize | Statistics, str]:
  """The normalization, and where it comes from: the file where it has one, else the config."""
  option = config.data.normalize
  if imported.normalization is None:
    return normalization_of(config, channels), f"the config's data.normalize='{option}'"
  found = imported.normalization
  if option != 'given':
    return found, 'the file'
  for name, given in (('mean', config.data.mean), ('std', config.data.std)):
    values = getattr(found, name)
    if found.whitening is not None or not np.allclose(values, given, rtol=1e-5, atol=1e-7):
      numbers = ','.join(f'{value:g}' for value in values[:_NAMED])
      raise UserError(
        f'{path} normalizes by the {name} {numbers}, and --config.data.{name} is '
        f"{tuple(given)}; set it so, or --config.data.normalize='channel' to take what the file has"
      )
  return normalization_of(config, channels), 'the config, as in the file'


def _data(config: ConfigDict, what: str) -> data.Splits:
  try:
    return data.load_splits(config)
  except UserError as error:
    raise UserError(
      f'only the data of the config tell {what}, and they cannot be read: {error}', error.details
    ) from None
