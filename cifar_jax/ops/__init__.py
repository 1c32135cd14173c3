"""Operations with a second form for XLA on CPU, which computes the same and takes less time.

XLA's CPU backend translates some operations, and the gradients of some, into slow loops. Each
module here holds the plain formulation and, beside it, one that avoids them; GPU and TPU always get
the plain one. Both agree in values and gradients to float32 rounding, dropout in distribution.

CIFAR_JAX_CPU_FORMS=off in the environment selects the plain formulations on CPU too;
CIFAR_JAX_ONEDNN=off keeps the others but calls no library.
"""
