"""The target stablehlo: a program that `jax.export.deserialize` opens, for CPU, CUDA and TPU."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from cifar_jax.exchange import blame, exported
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.optional_deps import require

MAIN = 'model.jax_export'
PLATFORMS = ('cpu', 'cuda', 'tpu')


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes the network into an empty folder.

  Raises:
    UserError: It has operations that XLA's stable format does not have; the layer is named.
  """
  require('export', 'flatbuffers')  # in which JAX writes and reads exports
  (batch,) = export.symbolic_shape('N')
  images = jax.ShapeDtypeStruct((batch, *network.image_shape), jnp.dtype(options.input_dtype))
  function = exported.function(network, options)
  with blame.naming_layers('stablehlo', function, network, options):
    program = export.export(jax.jit(function), platforms=PLATFORMS)(images)
    content = program.serialize()
  (folder / MAIN).write_bytes(content)
  version = program.calling_convention_version
  return Written(
    MAIN,
    (
      'it runs on CPU, CUDA and TPU; open it in Python by jax.export.deserialize(bytearray('
      f"open('{MAIN}', 'rb').read())).call(images)",
      f'JAX promises that its versions of the 6 months after {jax.__version__} open it; keep the '
      'run to export it anew later',
    ),
    {'platforms': list(PLATFORMS), 'calling_convention_version': version, 'jax': jax.__version__},
  )


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """Opens the program on the default device, by JAX alone."""
  require('export', 'flatbuffers')  # in which JAX writes and reads exports
  del options
  program = export.deserialize(bytearray((folder / MAIN).read_bytes()))
  call = jax.jit(program.call)
  return lambda images: np.asarray(call(images))
