"""The network that an export holds, and the facts that stand beside it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax import models
from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.ops.dispatch import reference_kernels
from cifar_jax.predict.classifier import Classifier

FACTS, WHITENING = 'export.json', 'whitening.npy'


def in_float32(network: Classifier) -> Classifier:
  """The network, computing in float32, its config as it was; itself where it does already."""
  if network.config.model.get('dtype') in (None, 'float32'):
    return network
  fields = {**network.config.model, 'dtype': 'float32'}
  module = models.create(fields, len(network.class_names))
  return dataclasses.replace(network, module=module)


def statistics(network: Classifier) -> Statistics:
  """What the images of a network are normalized by: float32 arrays, mean and std [C], or, with a
  whitening matrix, [H W C].
  """
  if isinstance(network.normalize, Statistics):
    return network.normalize
  channels = network.image_shape[2]
  data = network.config.data
  mean, std = (np.broadcast_to(np.float32(v), (channels,)) for v in (data.mean, data.std))
  return Statistics(mean, std)


def function(network: Classifier, options: Options) -> Callable[[Any], jax.Array]:
  """What an export computes, traceable: images as `options` say -> float32 [N, classes].

  The operations are those that XLA has names for, whatever the processor, and the variables are
  constants in it.
  """

  def outputs(images: jax.Array) -> jax.Array:
    with reference_kernels():
      inputs = network.normalize(images) if options.preprocessing == 'inside' else images
      return _outputs(network, network.variables, inputs, options)

  return outputs


def outputs_here(network: Classifier, options: Options) -> Predict:
  """What the network itself gives of images uint8 [N, H, W, C], as `options` say; compiled for this
  machine with all of its kernels, on one view of each image.
  """

  def outputs(variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
    inputs = network.normalize(images)
    return _outputs(network, variables, inputs, options)

  compiled = jax.jit(outputs)

  def predict(images: np.ndarray) -> np.ndarray:
    # Without it a GPU rounds the factors of products in float32 to ten bits.
    with jax.default_matmul_precision('float32'):
      return np.asarray(compiled(network.variables, images))

  return predict


def _outputs(
  network: Classifier, variables: Mapping[str, Any], inputs: jax.Array, options: Options
) -> jax.Array:
  """Logits or probabilities, float32, of normalized images."""
  logits = models.apply(network.module, variables, inputs, train=False).astype(jnp.float32)
  return network.task.probabilities(logits) if options.output == 'probabilities' else logits


def inputs_of(network: Classifier, options: Options, images: np.ndarray) -> np.ndarray:
  """Images uint8 [N, H, W, C] as an export with these options takes them."""
  if options.preprocessing == 'inside':
    return images
  return np.asarray(network.normalize(jnp.asarray(images)))


def notes(network: Classifier) -> tuple[str, ...]:
  """Sentences on what an export of a network does not do as the run does."""
  found = []
  config = network.config
  if in_float32(network) is not network:
    found.append(f'the run computes in {config.model.dtype}, the export in float32')
  if config.evaluate.tta != 'none':
    found.append(
      f'the test-time views of --config.evaluate.tta={config.evaluate.tta} are not in the export: '
      'it sees one view of each image'
    )
  height, width = network.preprocessing.height, network.preprocessing.width
  if (height, width) != network.image_shape[:2]:
    found.append(
      f'images of {height}x{width} pixels go into the middle of a black square of '
      f'{network.preprocessing.pad_to} first, which the export does not do'
    )
  return tuple(found)


def facts(network: Classifier, target: str, options: Options, written: Written) -> dict[str, Any]:
  """What export.json says beside every export: all that is needed to use it."""
  height, width, channels = network.image_shape
  numbers = statistics(network)
  normalization: dict[str, Any] = {'scale': '1 / 255'}
  if numbers.whitening is None:
    normalization |= {'mean': numbers.mean.tolist(), 'std': numbers.std.tolist()}
    formula = '(image / 255 - mean) / std'
  else:
    normalization |= {'mean': numbers.mean.tolist(), 'whitening': WHITENING}
    formula = '(flattened image / 255 - mean) @ whitening, in the shape of the image'
  dtype = network.config.model.get('dtype') or 'float32'
  return {
    'target': target,
    'file': written.main,
    'input': {
      'dtype': options.input_dtype,
      'shape': ['N', height, width, channels],
      'values': '0..255' if options.preprocessing == 'inside' else formula,
    },
    'output': {
      'kind': options.output,
      'dtype': 'float32',
      'shape': ['N', len(network.class_names)],
    },
    'class_names': list(network.class_names),
    'image_size': [height, width],
    'normalization': {'where': options.preprocessing, 'formula': formula, **normalization},
    'image_files': dataclasses.asdict(network.preprocessing),
    'network': network.config.model.get('name'),
    'trained_in': dtype,
    'step': network.step,
    **written.details,
    'notes': [*notes(network), *written.notes],
  }
