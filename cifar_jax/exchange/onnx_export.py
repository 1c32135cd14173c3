"""The target onnx: a network of ONNX's own operators, made by jax2onnx."""

import contextlib
import json
import logging
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.exchange import blame, exported
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.optional_deps import require

MAIN = 'model.onnx'
OPSET = 21  # of ONNX 1.16, of March 2024
INPUT, BATCH = 'images', 'N'


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes the network into an empty folder.

  Raises:
    UserError: ONNX, or jax2onnx, lacks an operation, whose layer is named; or they are not
      installed.
  """
  jax2onnx, onnx, _ = require('export', 'jax2onnx', 'onnx', 'onnxruntime')
  images = jax.ShapeDtypeStruct((BATCH, *network.image_shape), jnp.dtype(options.input_dtype))
  function = exported.function(network, options)
  with blame.naming_layers('onnx', function, network, options), _quiet():
    model = jax2onnx.to_onnx(
      function,
      [images],
      model_name=str(network.config.model.get('name')),
      opset=OPSET,
      input_names=[INPUT],
      output_names=[options.output],
    )
    metadata = {
      'class_names': json.dumps(list(network.class_names)),
      'image_size': json.dumps(list(network.image_shape[:2])),
      'preprocessing': options.preprocessing,
      'output': options.output,
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / MAIN)
  shape = ', '.join(map(str, network.image_shape))
  return Written(
    MAIN,
    (
      f"opset {OPSET}; the input '{INPUT}' is {options.input_dtype} [N, {shape}], the output "
      f"'{options.output}' float32; class names are in the metadata as 'class_names'",
    ),
    {'opset': OPSET},
  )


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """Opens the network in ONNX Runtime on the processor."""
  (onnxruntime,) = require('export', 'onnxruntime')
  session = onnxruntime.InferenceSession(folder / MAIN, providers=['CPUExecutionProvider'])

  def predict(images: np.ndarray) -> np.ndarray:
    (outputs,) = session.run([options.output], {INPUT: images})
    return outputs

  return predict


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Without the warnings of the converter's serializer about shapes that it does not need."""
  logger = logging.getLogger('onnx_ir')
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)
