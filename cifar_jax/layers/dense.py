"""Fully connected layer."""

from typing import Any

import flax.linen as nn

from cifar_jax.layers.activation import activation_function
from cifar_jax.ops.dense import dense
from cifar_jax.utils.array_types import Inputs, Outputs


class Dense(nn.Module):
  """Matrix product over the last axis, plus bias, then the activation.

  Attributes:
    features: Number of outputs.
    use_bias: Whether a bias is added.
    kernel_init: Initializer of 'kernel' [inputs, features]; Glorot and Bengio (2010) as in Keras.
    bias_init: Initializer of 'bias' [features].
    activation: As for `activation_function`.
    dtype: Dtype of the computation; None means that of the inputs. Parameters are float32.
  """

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()
  activation: str = 'linear'
  dtype: Any = None

  @nn.compact
  def __call__(self, inputs: Inputs) -> Outputs:
    kernel = self.param('kernel', self.kernel_init, (inputs.shape[-1], self.features))
    bias = self.param('bias', self.bias_init, (self.features,)) if self.use_bias else None
    inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
    return activation_function(self.activation)(dense(inputs, kernel, bias))
