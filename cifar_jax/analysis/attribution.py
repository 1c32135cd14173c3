"""What happens inside a network for an image: maps layer by layer, and what a class depends on.

Works with any Flax module: the calls of its innermost modules are intercepted, nothing in the
network has to be prepared for it. Images are normalized.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import models
from cifar_jax.utils.array_types import Features, HeatMaps, Images, Labels


def layer_outputs(
  module: nn.Module, variables: Mapping[str, Any], images: Images
) -> dict[str, jax.Array]:
  """The output of every innermost module, in the order of application (which `jax.jit` loses).

  Returns:
    path of the module, as 'Conv_0' or 'Block_1/Conv_0', -> [B, ...]; of a module called twice the
    last output. Functions between modules, as nn.relu, do not show.
  """
  outputs: dict[str, jax.Array] = {}

  def record(method: Any, arguments: Any, options: Any, context: Any) -> Any:
    result = method(*arguments, **options)
    if context.method_name == '__call__' and isinstance(result, jax.Array):
      path = '/'.join(context.module.path)
      # A module ends after those in it, of which the outputs are there already.
      if path and not any(other.startswith(f'{path}/') for other in outputs):
        outputs[path] = result
    return result

  with nn.intercept_methods(record):
    models.apply(module, variables, images, train=False)
  return outputs


def map_layers(
  module: nn.Module, variables: Mapping[str, Any], image_shape: tuple[int, ...]
) -> dict[str, tuple[int, int, int]]:
  """Returns (H, W, C) of the modules that make maps [B, H, W, C] with more than one position."""
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  order: list[str] = []  # JAX sorts the keys of what a traced function returns

  def outputs(variables: Mapping[str, Any], images: jax.Array) -> dict[str, jax.Array]:
    found = layer_outputs(module, variables, images)
    order.extend(found)
    return found

  shapes = jax.eval_shape(outputs, dict(variables), images)
  maps = {path: shapes[path].shape[1:] for path in order if len(shapes[path].shape) == 4}
  return {path: shape for path, shape in maps.items() if shape[0] > 1}


def features(module: nn.Module, variables: Mapping[str, Any], images: Images) -> Features:
  """What the last layer with parameters is given, the network's own description."""
  inputs: list[jax.Array] = []

  def record(method: Any, arguments: Any, options: Any, context: Any) -> Any:
    if context.method_name == '__call__' and context.module.path and arguments:
      own = variables['params']
      for key in context.module.path:
        own = own.get(key, {})
      if any(not isinstance(value, Mapping) for value in own.values()):
        inputs.append(arguments[0])
    return method(*arguments, **options)

  with nn.intercept_methods(record):
    models.apply(module, variables, images, train=False)
  return inputs[-1].reshape(len(images), -1).astype(jnp.float32)


def saliency(
  module: nn.Module, variables: Mapping[str, Any], images: Images, classes: Labels
) -> HeatMaps:
  """How strongly each pixel moves the logit of a class: the largest |gradient| over the channels.

  After "Deep Inside Convolutional Networks" (Simonyan, Vedaldi and Zisserman, 2013).
  """

  def chosen_logits(images: jax.Array) -> jax.Array:
    return _of_classes(models.apply(module, variables, images, train=False), classes)

  return jnp.max(jnp.abs(jax.grad(chosen_logits)(images)), axis=-1)


def grad_cam(
  module: nn.Module,
  variables: Mapping[str, Any],
  images: Images,
  classes: Labels,
  layer: str,
) -> HeatMaps:
  """Where a layer's maps speak for a class, at least 0: Grad-CAM (Selvaraju et al., 2017).

  Args:
    layer: The path of the layer, a key of `map_layers`.
  """

  def chosen_logits(change: jax.Array) -> tuple[jax.Array, jax.Array]:
    seen: list[jax.Array] = []

    def add(method: Any, arguments: Any, options: Any, context: Any) -> Any:
      result = method(*arguments, **options)
      if context.method_name == '__call__' and '/'.join(context.module.path) == layer:
        seen.append(result)
        return result + change.astype(result.dtype)
      return result

    with nn.intercept_methods(add):
      logits = models.apply(module, variables, images, train=False)
    return _of_classes(logits, classes), seen[-1]

  shape = map_layers(module, variables, images.shape[1:])[layer]
  # A change of 0 to the maps, whose gradient is that of the maps.
  gradients, maps = jax.grad(chosen_logits, has_aux=True)(jnp.zeros((len(images), *shape)))
  weights = jnp.mean(gradients, axis=(1, 2), keepdims=True)
  return jnp.maximum(jnp.sum(weights * maps, axis=-1), 0)


def _of_classes(logits: jax.Array, classes: jax.Array) -> jax.Array:
  """The sum over the images of each one's logit of its class: its gradients are those of each."""
  return jnp.sum(jnp.take_along_axis(logits, classes[:, None], axis=1))
