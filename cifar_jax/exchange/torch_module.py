"""A network as the text of a PyTorch module: one line a layer, and the classes that they need."""

import ast
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn

from cifar_jax.exchange.layer_calls import Call, layer_calls
from cifar_jax.exchange.torch_lines import WHOLE, WRITERS, Lines, text_of_call
from cifar_jax.exchange.torch_names import NORMALIZE
from cifar_jax.models import (
  airbench_net,
  densenet,
)
from cifar_jax.models.pretrained import network
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.models.pretrained.efficientnet_lite import STAGES, EfficientNetLite
from cifar_jax.models.pretrained.resnet import ImageNetResNet
from cifar_jax.models.pretrained.vgg import ImageNetVGG
from cifar_jax.utils.errors import UserError

_FOLDER = pathlib.Path(__file__).parent / 'torch_layers'
_FILES = ('layers.py', 'blocks.py', 'tokens.py', 'pretrained.py')


def network_class(module: nn.Module, image_shape: Sequence[int], normalize: str) -> str:
  """The class `Network`, and before it the classes of which it is made.

  Args:
    image_shape: The (H, W, C) of its inputs.
    normalize: The expression of the layer that comes first.

  Raises:
    UserError: PyTorch has no layer for one of the network's; the sentence says which.
  """
  if type(module) in WHOLE:
    body = _derived(*WHOLE[type(module)](module, image_shape), normalize)
  else:
    if isinstance(module, densenet.DenseNet):
      module = module.clone(remat=False)
    calls = layer_calls(module, image_shape)
    made = _pretrained_lines(module, calls) if isinstance(module, Pretrained) else _lines_of(calls)
    body = _sequential([(NORMALIZE, normalize), *made])
  return '\n\n'.join([*_needed(body), body])


def _sequential(lines: Lines) -> str:
  return (
    'class Network(nn.Sequential):\n'
    '  """The layers in order; images [N, C, H, W] to logits [N, classes]."""\n\n'
    '  def __init__(self):\n'
    f'    super().__init__(\n{_entries(lines, 6)}    )\n'
  )


def _entries(lines: Lines, indent: int) -> str:
  """The text of a dictionary of layers."""
  start = ' ' * indent
  entries = ''.join(f"{start}    ('{name}', {expression}),\n" for name, expression in lines)
  return f'{start}OrderedDict(\n{start}  [\n{entries}{start}  ]\n{start})\n'


def _derived(name: str, arguments: Mapping[str, Any], normalize: str) -> str:
  given = ''.join(f'      {key}={value!r},\n' for key, value in arguments.items())
  return (
    f'class Network({name}):\n'
    '  """Images [N, C, H, W] to logits [N, classes]."""\n\n'
    f'  def __init__(self):\n    super().__init__(\n{given}    )\n'
    f'    self.{NORMALIZE} = {normalize}\n\n'
    f'  def forward(self, images):\n    return super().forward(self.{NORMALIZE}(images))\n'
  )


def _pretrained_lines(module: Pretrained, calls: Sequence[Call]) -> Lines:
  """Of a published network, and of a head below which it stands."""
  base = network(module.network, 'model.network').make()
  match base:
    case ImageNetVGG():
      line = text_of_call('ImageNetVGG', base.convolutions)
    case ImageNetResNet():
      line = text_of_call('ImageNetResNet', base.blocks, base.bottleneck)
    case EfficientNetLite():
      line = text_of_call('EfficientNetLite', tuple(map(tuple, STAGES)))
    case _:
      raise UserError(f'the network {module.network} has no counterpart in PyTorch here')
  head = next(number for number, call in enumerate(calls) if call.path == ('head',))
  inner = _entries(_lines_of(calls[head:]), 12).strip()
  return [
    ('base', line),
    *([('pool', 'nn.AdaptiveAvgPool2d(1)')] if module.pooled else []),
    ('head', f'nn.Sequential({inner})'),
    *([('two', 'LogOdds()')] if module.one_sigmoid else []),
  ]


def _lines_of(calls: Sequence[Call]) -> Lines:
  """One line or more for each module just below the first of the calls, which must form a chain."""
  network = calls[0]
  depth = len(network.path) + 1
  inner = [call for call in calls if len(call.path) == depth and call.path[:-1] == network.path]
  lines: Lines = []
  previous, what = network.inputs, 'its input'
  for call in inner:
    name = call.path[-1]
    if call.inputs is not previous and not isinstance(network.module, densenet.DenseNet):
      raise UserError(
        f'{type(network.module).__name__} cannot be written for PyTorch: between {what} and the '
        f'layer {name} it computes something that is no layer'
      )
    if type(call.module) not in WRITERS:
      raise UserError(
        f'{type(network.module).__name__} cannot be written for PyTorch, which has no counterpart '
        f'here of the layer {name}, a {type(call.module).__name__}'
      )
    lines += WRITERS[type(call.module)](call)
    previous, what = call.outputs, f'the layer {name}'
  if isinstance(network.module, airbench_net.AirbenchNet):
    lines.append(('scale', f'Scale({network.module.logit_scale!r})'))
  elif previous is not network.outputs:
    raise UserError(
      f'{type(network.module).__name__} cannot be written for PyTorch: after {what} it computes '
      'something that is no layer'
    )
  return lines


def _needed(body: str) -> Iterator[str]:
  """The text of the classes that a text names, and of those that these name, in an order in which
  Python can read them.
  """
  sources = _sources()
  wanted: set[str] = set()
  waiting = [body]
  while waiting:
    text = waiting.pop()
    for name in set(re.findall(r'\w+', text)) & sources.keys() - wanted:
      wanted.add(name)
      waiting.append(sources[name])
  yield from (source for name, source in sources.items() if name in wanted)


@functools.cache
def _sources() -> dict[str, str]:
  """The text of every class of `torch_layers`."""
  found = {}
  for name in _FILES:
    text = (_FOLDER / name).read_text('utf-8')
    for node in ast.parse(text).body:
      if isinstance(node, ast.ClassDef):
        found[node.name] = f'{ast.get_source_segment(text, node)}\n'
  return found
