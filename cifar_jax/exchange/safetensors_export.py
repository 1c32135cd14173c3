"""The target safetensors: a model folder, with the weights by name."""

import pathlib

from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange.exported import in_float32, outputs_here
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.predict import classifier
from cifar_jax.predict.classifier import Classifier
from cifar_jax.run_dir import model_folder, run_files


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes the model folder, float32, so that no bit is lost."""
  del options
  config, about = model_folder.without_places(network.config, run_files.read_about(network.run))
  about |= {
    'class_names': list(network.class_names),
    'image_shape': list(network.image_shape),
    **model_folder.facts_about(
      network.step, model_folder.data_facts(network.run), network.thresholds or None
    ),
  }
  normalize = network.normalize
  model_folder.write(
    folder,
    config=config,
    about=about,
    variables=network.variables,
    normalization=normalize if isinstance(normalize, Statistics) else None,
    dtype='float32',
  )
  return Written(
    model_folder.WEIGHTS,
    (
      "a tensor's name is its place in the network, as 'params/Conv_0/kernel' and "
      "'batch_stats/BatchNorm_0/mean'; kernels are [rows, columns, channels, filters], dense ones "
      '[inputs, outputs]',
      'every command here takes the folder as RUN',
    ),
  )


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """Opens the folder as every command does."""
  return outputs_here(in_float32(classifier.load(folder)), options)
