"""Options that several optimizers have, each with a default of its own."""

from typing import Any

import jax

from cifar_jax.schema.constraints import BELOW_ONE, BOOLEAN, NOT_NEGATIVE, POSITIVE, one_of
from cifar_jax.schema.options import shared_option

learning_rate = shared_option(
  POSITIVE, 'The base learning rate, which the factors of the schedule multiply.'
)
momentum = shared_option(BELOW_ONE, 'The decay of the velocity per step; 0: no velocity is kept.')
nesterov = shared_option(
  BOOLEAN, "Whether steps are Nesterov's, which look ahead along the velocity."
)
rho = shared_option(BELOW_ONE, 'The decay of the average of squared gradients per step.')
beta1 = shared_option(BELOW_ONE, 'The decay of the first moment per step.')
beta2 = shared_option(BELOW_ONE, 'The decay of the second moment per step.')
epsilon = shared_option(POSITIVE, 'A constant that keeps the denominator of a step away from 0.')
weight_decay = shared_option(
  NOT_NEGATIVE, 'The decay of the parameters per step, as a multiple of the learning rate.'
)
weight_decay_mask = shared_option(
  one_of('all', 'kernels'),
  'What decays: all parameters, or only kernels (rank 2 and up), without biases and scales.',
)


def is_zero(value: Any) -> bool:
  """Whether an option is 0; one that is traced, since runs differ in it, is not."""
  return not isinstance(value, jax.Array) and not value
