"""Operations with a second kernel for XLA on CPU, which computes the same and takes less time.

XLA's CPU backend translates some operations, and the gradients of some, into slow loops. Each
module here holds the reference and, beside it, a kernel that avoids them; GPU and TPU always get
the reference. Both agree in values and gradients to float32 rounding, dropout in distribution.
`dispatch` chooses.

CIFAR_JAX_CPU_KERNELS=off in the environment selects the references on CPU too;
CIFAR_JAX_ONEDNN=off keeps the others but calls no library.
"""
