"""Networks whose weights are published, up to their last maps."""

from collections import OrderedDict

from torch import nn
from torch.nn import functional

from cifar_jax.exchange.torch_layers.layers import ConvSame


class LogOdds(nn.Module):
  """One number as the logits of two classes, of which the first has 0."""

  def forward(self, x):
    return functional.pad(x, (1, 0))


class ImageNetVGG(nn.Sequential):
  """Five blocks of 3x3 convolutions, a max-pool after each."""

  def __init__(self, convolutions):
    layers, inputs = OrderedDict(), 3
    widths = (64, 128, 256, 512, 512)
    for block, (width, count) in enumerate(zip(widths, convolutions, strict=True), 1):
      for number in range(1, count + 1):
        layers[f'block{block}_conv{number}'] = nn.Conv2d(inputs, width, 3, padding=1)
        layers[f'block{block}_relu{number}'] = nn.ReLU()
        inputs = width
      layers[f'block{block}_pool'] = nn.MaxPool2d(2)
    super().__init__(layers)


class ImageNetBlock(nn.Module):
  """Convolutions with BatchNorm, added to their own input."""

  def __init__(self, inputs, width, stride, bottleneck):
    super().__init__()
    outputs = 4 * width if bottleneck else width
    plan = [(inputs, width, 3, stride), (width, outputs, 3, 1)]
    if bottleneck:
      plan = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
    self.count = len(plan)
    for number, (entering, leaving, window, step) in enumerate(plan, 1):
      conv = nn.Conv2d(entering, leaving, window, step, window // 2, bias=False)
      self.add_module(f'conv{number}', conv)
      self.add_module(f'bn{number}', nn.BatchNorm2d(leaving))
    self.is_projected = stride > 1 or inputs != outputs
    if self.is_projected:
      self.downsample_conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
      self.downsample_bn = nn.BatchNorm2d(outputs)

  def forward(self, x):
    y = x
    for number in range(1, self.count + 1):
      y = self.get_submodule(f'bn{number}')(self.get_submodule(f'conv{number}')(y))
      y = functional.relu(y) if number < self.count else y
    if self.is_projected:
      x = self.downsample_bn(self.downsample_conv(x))
    return functional.relu(y + x)


class ImageNetResNet(nn.Sequential):
  """A 7x7 convolution and a max-pool, four stages of residual blocks."""

  def __init__(self, blocks, bottleneck):
    layers = OrderedDict(
      conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
      bn1=nn.BatchNorm2d(64),
      relu=nn.ReLU(),
      pool=nn.MaxPool2d(3, 2, 1),
    )
    inputs = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
      for number in range(count):
        stride = 2 if number == 0 and stage > 1 else 1
        layers[f'layer{stage}_{number}'] = ImageNetBlock(inputs, width, stride, bottleneck)
        inputs = 4 * width if bottleneck else width
    super().__init__(layers)


class LiteBlock(nn.Sequential):
  """Widens, convolves every channel by itself, narrows; added where the shapes are equal."""

  def __init__(self, inputs, outputs, window, stride, expansion):
    inner, layers = inputs * expansion, OrderedDict()
    if expansion > 1:
      layers['expand_conv'] = nn.Conv2d(inputs, inner, 1, bias=False)
      layers['bn0'] = nn.BatchNorm2d(inner, 1e-3, 0.01)
      layers['relu0'] = nn.ReLU6()
    layers['depthwise_conv'] = ConvSame(inner, inner, window, stride, groups=inner, bias=False)
    layers['bn1'] = nn.BatchNorm2d(inner, 1e-3, 0.01)
    layers['relu1'] = nn.ReLU6()
    layers['project_conv'] = nn.Conv2d(inner, outputs, 1, bias=False)
    layers['bn2'] = nn.BatchNorm2d(outputs, 1e-3, 0.01)
    super().__init__(layers)
    self.is_added = stride == 1 and inputs == outputs

  def forward(self, x):
    return x + super().forward(x) if self.is_added else super().forward(x)


class EfficientNetLite(nn.Sequential):
  """EfficientNet-Lite0; a stage is (repeats, window, stride, expansion, outputs)."""

  def __init__(self, stages):
    layers = OrderedDict(
      conv_stem=ConvSame(3, 32, 3, 2, bias=False),
      bn0=nn.BatchNorm2d(32, 1e-3, 0.01),
      relu0=nn.ReLU6(),
    )
    inputs, number = 32, 0
    for repeats, window, stride, expansion, outputs in stages:
      for repeat in range(repeats):
        step = 1 if repeat else stride
        layers[f'blocks_{number}'] = LiteBlock(inputs, outputs, window, step, expansion)
        inputs, number = outputs, number + 1
    layers['conv_head'] = nn.Conv2d(inputs, 1280, 1, bias=False)
    layers['bn1'] = nn.BatchNorm2d(1280, 1e-3, 0.01)
    layers['relu1'] = nn.ReLU6()
    super().__init__(layers)
