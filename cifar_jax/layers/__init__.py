"""The Flax Linen layers that all networks here are built of, with the defaults of Keras.

Fields, call arguments and parameter names are those of `flax.linen` (kernel, bias, scale, mean,
var), so `nn.Conv`, `nn.Dense`, `nn.BatchNorm` and `nn.Dropout` can be swapped for these and
checkpoints still fit. What differs are the defaults: Glorot-uniform kernels, and BatchNorm's
momentum and epsilon. `Conv` and `Dense` also take an `activation`.
"""

from cifar_jax.layers.activation import Activation, activation_function, activation_names
from cifar_jax.layers.batch_norm import BatchNorm
from cifar_jax.layers.conv import Conv
from cifar_jax.layers.dense import Dense
from cifar_jax.layers.dropout import Dropout, DropPath, linear_drop_path_rates
from cifar_jax.layers.pool import AveragePool, Flatten, GlobalAveragePool, MaxPool

__all__ = [
  'Activation',
  'AveragePool',
  'BatchNorm',
  'Conv',
  'Dense',
  'DropPath',
  'Dropout',
  'Flatten',
  'GlobalAveragePool',
  'MaxPool',
  'activation_function',
  'activation_names',
  'linear_drop_path_rates',
]
