"""Layers without a counterpart in PyTorch, and the units that families share."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional


class Normalize(nn.Module):
  """(images - mean) / std of images in 0..1; uint8 are taken to be in 0..255."""

  def __init__(self, mean, std):
    super().__init__()
    self.register_buffer('mean', torch.tensor(mean).reshape(-1, 1, 1))
    self.register_buffer('std', torch.tensor(std).reshape(-1, 1, 1))

  def forward(self, images):
    images = images / 255 if images.dtype == torch.uint8 else images
    return (images - self.mean) / self.std


class Whiten(nn.Module):
  """The ZCA whitening of images in 0..1 by training images; uint8 are taken to be in 0..255."""

  def __init__(self, channels, height, width):
    super().__init__()
    size = channels * height * width
    self.register_buffer('mean', torch.zeros(size))  # what is loaded takes their place
    self.register_buffer('whitening', torch.eye(size))

  def forward(self, images):
    images = images / 255 if images.dtype == torch.uint8 else images
    return ((images.flatten(1) - self.mean) @ self.whitening).reshape(images.shape)


class Scale(nn.Module):
  """Multiplies by a number."""

  def __init__(self, factor):
    super().__init__()
    self.factor = factor

  def forward(self, x):
    return self.factor * x


class AveragePool(nn.Module):
  """The mean of each window; the border (left, right, top, bottom) does not count."""

  def __init__(self, window, stride, border):
    super().__init__()
    self.window, self.stride, self.border = window, stride, border

  def forward(self, x):
    counted = functional.avg_pool2d(
      functional.pad(torch.ones_like(x), self.border), self.window, self.stride
    )
    return functional.avg_pool2d(functional.pad(x, self.border), self.window, self.stride) / counted


class ConvSame(nn.Conv2d):
  """A convolution with the 'SAME' padding of TensorFlow, where an odd pixel is at the end."""

  def forward(self, x):
    margins = []
    for size, window, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
      total = max((-(-size // stride) - 1) * stride + window - size, 0)
      margins += [total // 2, total - total // 2]
    return functional.conv2d(
      functional.pad(x, margins), self.weight, self.bias, self.stride, groups=self.groups
    )


class LayerNorm2d(nn.LayerNorm):
  """LayerNorm over the channels of maps [N, C, H, W]."""

  def forward(self, x):
    return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNorm(nn.Sequential):
  """Convolution without bias, BatchNorm, activation."""

  def __init__(self, inputs, outputs, window=3, stride=1, groups=1, activation=nn.ReLU):
    super().__init__(
      OrderedDict(
        Conv_0=nn.Conv2d(inputs, outputs, window, stride, window // 2, groups=groups, bias=False),
        BatchNorm_0=nn.BatchNorm2d(outputs),
        Activation_0=activation(),
      )
    )


class NormActivation(nn.Sequential):
  """BatchNorm, then ReLU: what comes before a convolution with pre-activation."""

  def __init__(self, channels):
    super().__init__(OrderedDict(BatchNorm_0=nn.BatchNorm2d(channels), Activation_0=nn.ReLU()))


class SqueezeExcite(nn.Module):
  """Scales each channel by a number in 0..1 that depends on all of them."""

  def __init__(self, channels, reduction):
    super().__init__()
    units = max(channels // reduction, 1)
    self.Dense_0, self.Dense_1 = nn.Linear(channels, units), nn.Linear(units, channels)

  def forward(self, x):
    gates = torch.sigmoid(self.Dense_1(functional.relu(self.Dense_0(x.mean((2, 3))))))
    return x * gates[:, :, None, None]


class Logits(nn.Sequential):
  """The mean of each channel, dropout, and a linear layer."""

  def __init__(self, channels, classes, dropout=0.0):
    super().__init__(
      OrderedDict(
        GlobalAveragePool_0=nn.AdaptiveAvgPool2d(1),
        Flatten_0=nn.Flatten(),
        Dropout_0=nn.Dropout(dropout),
        Dense_0=nn.Linear(channels, classes),
      )
    )
