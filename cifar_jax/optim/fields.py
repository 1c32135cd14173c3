"""Options that several optimizers have, each with a default of its own."""

import functools

from cifar_jax.schema.constraints import BELOW_ONE, BOOLEAN, NOT_NEGATIVE, POSITIVE, one_of
from cifar_jax.schema.options import option

learning_rate = functools.partial(
  option,
  constraint=POSITIVE,
  doc='The base learning rate, which the factors of the schedule multiply.',
)
momentum = functools.partial(
  option, constraint=BELOW_ONE, doc='The decay of the velocity per step; 0: no velocity is kept.'
)
nesterov = functools.partial(
  option,
  constraint=BOOLEAN,
  doc="Whether steps are Nesterov's, which look ahead along the velocity.",
)
rho = functools.partial(
  option, constraint=BELOW_ONE, doc='The decay of the average of squared gradients per step.'
)
beta1 = functools.partial(
  option, constraint=BELOW_ONE, doc='The decay of the first moment per step.'
)
beta2 = functools.partial(
  option, constraint=BELOW_ONE, doc='The decay of the second moment per step.'
)
epsilon = functools.partial(
  option, constraint=POSITIVE, doc='A constant that keeps the denominator of a step away from 0.'
)
weight_decay = functools.partial(
  option,
  constraint=NOT_NEGATIVE,
  doc='The decay of the parameters per step, as a multiple of the learning rate.',
)
weight_decay_mask = functools.partial(
  option,
  default='all',
  constraint=one_of('all', 'kernels'),
  doc='What decays: all parameters, or kernels (rank 2 and up) alone, without biases and scales.',
)
