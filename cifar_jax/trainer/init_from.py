"""The variables with which a run starts where they are not drawn at random."""

from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.run_dir import model_folder, references
from cifar_jax.training.steps import TrainState, variables
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import load


def starting_variables(config: ConfigDict, module: nn.Module, shapes: TrainState) -> dict[str, Any]:
  """Reads those of the run `config.init_from`, or the published weights of a pretrained base.

  Returns:
    'params' and 'batch_stats', nested like the variables of the module, perhaps a part of them; {}
    where all are drawn at random.

  Raises:
    UserError: they are not to be found, cannot be read, or are of another network.
  """
  if config.init_from:
    return _of_run(config.init_from, shapes, config.init_matching)
  if not isinstance(module, Pretrained) or module.weights == 'random':
    return {}
  path = load.find(module.network, module.weights)
  loaded = load.load(module.network, path)
  return {name: {'base': tree} for name, tree in loaded.variables.items() if tree}


def _of_run(reference: str, shapes: TrainState, matching: bool) -> dict[str, Any]:
  run, flag = references.resolve(reference), f'--config.init_from={reference}'
  if not run.is_dir():
    raise UserError(f'{flag}: there is no such folder of a run')
  try:
    found, _ = model_folder.read_variables(run, 'best')
  except UserError as error:
    raise UserError(f'{flag}: {error}', error.details) from None
  if matching:
    return _matching(found, variables(shapes))
  for collection, tree in variables(shapes).items():
    there, here = (
      jax.tree.map(lambda leaf: leaf.shape, each) for each in (found[collection], tree)
    )
    if there != here:
      raise UserError(
        f'{flag} holds another network: its {collection} have other names or shapes; set '
        'config.model as that run has it, or --config.init_matching=True to take what fits'
      )
  return found


def _matching(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
  """The arrays that both have by the same name and in the same shape; all collections, perhaps
  empty.
  """
  there, here = flatten_dict(found), flatten_dict(wanted)
  same = {
    name: array for name, array in there.items() if name in here and here[name].shape == array.shape
  }
  return {collection: {} for collection in wanted} | unflatten_dict(same)
