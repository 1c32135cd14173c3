"""Operations with a second form for XLA on CPU, which computes the same and takes less time.

XLA's CPU backend translates some operations, and the gradients of some, into slow loops. Each
module here holds the plain formulation and, beside it, one that avoids them; GPU and TPU always get
the plain one. Both agree in values and gradients to float32 rounding, dropout in distribution.

CIFAR_JAX_CPU_FORMS=off in the environment selects the plain formulations on CPU too.
"""

from cifar_jax.ops.batch_norm import normalize_by_batch
from cifar_jax.ops.conv import conv
from cifar_jax.ops.dropout import dropout
from cifar_jax.ops.gelu import gelu
from cifar_jax.ops.max_pool import max_pool
from cifar_jax.ops.relu import relu

__all__ = ['conv', 'dropout', 'gelu', 'max_pool', 'normalize_by_batch', 'relu']
