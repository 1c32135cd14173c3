"""The variables with which a run starts where they are not drawn at random."""

from typing import Any

import flax.linen as nn

from cifar_jax.models.pretrained import Pretrained
from cifar_jax.transfer import weights


def starting_variables(module: nn.Module) -> dict[str, Any]:
  """Published weights of a pretrained base, nested like the variables of the module; {} for none.

  Raises:
    UserError: they are not to be found, cannot be read, or are of another network.
  """
  if not isinstance(module, Pretrained) or module.weights == 'random':
    return {}
  path = weights.find(module.network, module.weights)
  loaded = weights.load(module.network, path)
  return {name: {'base': tree} for name, tree in loaded.variables.items() if tree}
