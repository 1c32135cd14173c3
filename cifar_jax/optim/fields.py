"""Options that several optimizers have, each with a default of its own."""

import functools

from cifar_jax.schema.constraints import BELOW_ONE, BOOLEAN, NOT_NEGATIVE, POSITIVE, one_of
from cifar_jax.schema.options import option

learning_rate = functools.partial(
  option, constraint=POSITIVE, doc='Base of the schedule: what its factors multiply.'
)
momentum = functools.partial(
  option, constraint=BELOW_ONE, doc='Decay of the velocity per step; 0: none is kept.'
)
nesterov = functools.partial(
  option, constraint=BOOLEAN, doc='Whether a step looks ahead along the velocity.'
)
rho = functools.partial(
  option, constraint=BELOW_ONE, doc='Decay per step of the average of squared gradients.'
)
beta1 = functools.partial(option, constraint=BELOW_ONE, doc='Decay of the first moment per step.')
beta2 = functools.partial(option, constraint=BELOW_ONE, doc='Decay of the second moment per step.')
epsilon = functools.partial(
  option, constraint=POSITIVE, doc='Keeps the denominator of a step away from 0.'
)
weight_decay = functools.partial(
  option, constraint=NOT_NEGATIVE, doc='Share of the parameters, times the rate, that a step takes.'
)
weight_decay_mask = functools.partial(
  option,
  default='all',
  constraint=one_of('all', 'kernels'),
  doc='What decays: everything, or kernels (rank 2 and up) alone, without biases and scales.',
)
