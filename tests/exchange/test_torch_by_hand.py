"""Networks as people write them in PyTorch, read from their state dicts; and damaged files."""

import importlib
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.cards import card, facts, imported, share
from cifar_jax.commands import import_model, make_parser, parsing
from cifar_jax.config import get_config
from cifar_jax.exchange import imports
from cifar_jax.predict import classifier
from cifar_jax.run_dir import hub
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import torch_files
from cifar_jax.zoo import entries
from tests.helpers.hub_server import Hub, serving
from tests.helpers.memory import little_memory
from tests.helpers.mutations import mutated
from tests.helpers.only_user_errors import only_user_errors
from tests.helpers.tiny_network import write_safetensors


def cnn_adv(nn):
  """Of configs/cnn_adv.py; PyTorch's BatchNorm adds 1e-5, ours, Keras's, 1e-3."""
  found, inputs = [], 3
  for width in (32, 64, 128):
    found += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1)]
    found += [nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.Dropout(0.25)]
    inputs = width
  head = nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)
  return nn.Sequential(*found, nn.Flatten(), *head)


def airbench94(nn):
  """As in the program of "94% on CIFAR-10 in 3.29 Seconds" (Keller Jordan, 2024)."""

  class ConvGroup(nn.Module):
    def __init__(self, inputs, outputs):
      super().__init__()
      self.conv1 = nn.Conv2d(inputs, outputs, 3, padding='same', bias=False)
      self.pool = nn.MaxPool2d(2)
      self.norm1 = nn.BatchNorm2d(outputs, eps=1e-12)
      self.conv2 = nn.Conv2d(outputs, outputs, 3, padding='same', bias=False)
      self.norm2 = nn.BatchNorm2d(outputs, eps=1e-12)
      self.activ = nn.GELU()
      nn.init.ones_(self.norm1.weight)

    def forward(self, x):
      x = self.activ(self.norm1(self.pool(self.conv1(x))))
      return self.activ(self.norm2(self.conv2(x)))

  class Mul(nn.Module):
    def forward(self, x):
      return x / 9

  return nn.Sequential(
    nn.Conv2d(3, 24, 2, bias=True),
    nn.GELU(),
    ConvGroup(24, 64),
    ConvGroup(64, 256),
    ConvGroup(256, 256),
    nn.MaxPool2d(3),
    nn.Flatten(),
    nn.Linear(256, 10, bias=False),
    Mul(),
  )


def preact_resnet18(nn):
  """As in the pytorch-cifar of kuangliu, whose shortcut is defined after the branch."""

  class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
      super().__init__()
      self.bn1 = nn.BatchNorm2d(inputs)
      self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
      self.bn2 = nn.BatchNorm2d(outputs)
      self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
      if stride != 1 or inputs != outputs:
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x):
      out = self.bn1(x).relu()
      shortcut = self.shortcut(out) if hasattr(self, 'shortcut') else x
      return self.conv2(self.bn2(self.conv1(out)).relu()) + shortcut

  class Network(nn.Module):
    def __init__(self):
      super().__init__()
      self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
      inputs = 64
      for stage, width in enumerate((64, 128, 256, 512), 1):
        blocks = Block(inputs, width, 1 if stage == 1 else 2), Block(width, width, 1)
        setattr(self, f'layer{stage}', nn.Sequential(*blocks))
        inputs = width
      self.bn = nn.BatchNorm2d(512)
      self.linear = nn.Linear(512, 10)

    def forward(self, x):
      x = self.conv1(x)
      for stage in (1, 2, 3, 4):
        x = getattr(self, f'layer{stage}')(x)
      return self.linear(self.bn(x).relu().mean((2, 3)))

  return Network()


NETWORKS = {'cnn_adv': cnn_adv, 'airbench94': airbench94, 'preact_resnet18': preact_resnet18}


@pytest.mark.thorough
@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('legacy', [False, True])
def test_networks_written_by_hand(name, legacy, tmp_path) -> None:
  torch = pytest.importorskip('torch')
  network = NETWORKS[name](torch.nn).eval()
  torch.manual_seed(0)
  for key, value in network.state_dict().items():
    if key.endswith('running_var'):
      value.uniform_(0.5, 1.5)
    elif value.ndim > 1:
      value.normal_(0, (2 / value[0].numel()) ** 0.5)
    elif value.is_floating_point() and not ('norm' in key and key.endswith('weight')):
      value.normal_(0, 0.1)
  path = tmp_path / 'net.pth'
  torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
  config = importlib.import_module(f'configs.{name}').get_config()
  made = imports.make_target(config, [str(number) for number in range(10)], (32, 32, 3))
  found = imports.read(path, made)
  images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
  logits = jax.jit(lambda v, x: models.apply(made.module, v, x, train=False))(
    found.variables, images
  )
  with torch.no_grad():
    expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
  np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


SOURCE = """
from configs import base
from ml_collections import ConfigDict

def get_config():
  config = base.get_config()
  config.data.name = 'mnist'
  config.model = ConfigDict({'name': 'conv_net', 'widths': (2,), 'block': ('conv3', 'max_pool')})
  return config
"""


def tensors(classes: int = 10) -> dict[str, np.ndarray]:
  draw = np.random.default_rng(0).normal
  shapes = {'conv.weight': (2, 1, 3, 3), 'conv.bias': (2,)}
  shapes |= {'out.weight': (classes, 2 * 14 * 14), 'out.bias': (classes,)}
  return {name: draw(size=shape).astype(np.float32) for name, shape in shapes.items()}


def command(folder: pathlib.Path, file: pathlib.Path | str, *options: str) -> pathlib.Path:
  """Runs the verb; returns the folder that it should make."""
  folder.mkdir(exist_ok=True)
  (folder / 'net.py').write_text(SOURCE)
  made = folder / 'made'
  words = ['import', str(file), f'--config={folder / "net.py"}', f'--workdir={made}', *options]
  import_model.run(parsing.parse(make_parser(), words))
  return made


def test_the_command_makes_a_folder_that_predicts(tmp_path, capsys) -> None:
  theirs = tensors()
  made = command(tmp_path, write_safetensors(tmp_path / 'net.safetensors', theirs))
  printed = capsys.readouterr().out
  assert 'classes     10, by the data set mnist: 0, 1, 2, 3, 4, ...' in printed
  assert "normalized by the config's data.normalize='given'" in printed
  network = classifier.load(made)
  assert network.class_names == tuple('0123456789')
  assert network.image_shape == (28, 28, 1)
  # A blank image: each map is the ReLU of its bias.
  maps = np.repeat(np.maximum(theirs['conv.bias'], 0), 14 * 14)
  logits = theirs['out.weight'] @ maps + theirs['out.bias']
  expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
  found = network.probabilities(np.zeros((1, 28, 28, 1), np.uint8))[0]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_weights_are_imported_from_the_hub(tmp_path, monkeypatch) -> None:
  pytest.importorskip('huggingface_hub')
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
  theirs = write_safetensors(tmp_path / 'net.safetensors', tensors())
  with serving(Hub({'me/net': {'model.safetensors': theirs.read_bytes()}})) as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    made = command(tmp_path, 'hub:me/net')
  by_file = command(tmp_path / 'x', theirs)
  images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
  np.testing.assert_array_equal(
    classifier.load(made).probabilities(images), classifier.load(by_file).probabilities(images)
  )
  assert 'imported from hub:me/net and not trained here' in (made / 'README.md').read_text()


def test_the_card_of_an_import_tells_what_was_measured(tmp_path) -> None:
  made = command(tmp_path, write_safetensors(tmp_path / 'net.safetensors', tensors()))
  measured = {'accuracy': 0.125, 'loss': 2.5, 'examples': 80, 'split': 'test'}
  edited = (made / 'README.md').read_text() + 'Mine.'
  original = (made / 'README.md').read_text()
  (made / 'README.md').write_text(edited)
  assert not imported.add_results(made, measured)
  assert (made / 'README.md').read_text() == edited
  (made / 'README.md').write_text(original)
  assert imported.add_results(made, measured)
  text = (made / 'README.md').read_text()
  assert '| 12.50 % | 2.5000 | 80 images, test |' in text
  assert 'Not measured yet' not in text
  assert 'It has seen images' not in text  # nobody knows what
  assert facts.measured_on_test(made) == {'test_accuracy': 0.125, 'test_loss': 2.5}
  assert not imported.add_results(made, {**measured, 'accuracy': 0.5})
  assert not imported.add_results(entries.find('lr'), measured)
  (made / 'card.json').write_text('{"format"')  # damaged, which is no reason not to measure
  assert not imported.add_results(made, measured)


def test_the_card_of_an_import_says_what_is_known(tmp_path) -> None:
  made = command(tmp_path, write_safetensors(tmp_path / 'net.safetensors', tensors()))
  known = facts.read(made / 'card.json')
  assert (known['name'], known['network'], known['classes']) == ('made', 'conv_net', 10)
  assert known['parameters'] == 2 * 9 + 2 + 10 * 2 * 14 * 14 + 10
  assert known['data'] == {'name': 'mnist'}
  assert not {'trained', 'results'} & known.keys()
  text = (made / 'README.md').read_text('utf-8')
  assert text == card.of_run(made)
  assert 'Not measured yet: `python -m cifar_jax evaluate` measures it.' in text
  assert 'imported from net.safetensors and not trained here' in text
  assert 'config.model.widths = (2,)' in text
  assert 'python -m cifar_jax predict made picture.jpg' in text
  assert str(tmp_path) not in text
  for unknown in ('Validated on', 'updates', 'seed'):
    assert unknown not in text
  # On the hub its commands name the place there; a text of the user's own stays.
  address = hub.parse('me/net')
  share.prepare(made, tmp_path / 'first', address)
  assert 'predict hub:me/net picture.jpg' in (tmp_path / 'first/README.md').read_text('utf-8')
  assert facts.read(tmp_path / 'first' / 'card.json') == known
  (made / 'README.md').write_text(f'{text}\nIt knows nothing of the letter O.\n', 'utf-8')
  share.prepare(made, tmp_path / 'second', address)
  assert (tmp_path / 'second/README.md').read_bytes() == (made / 'README.md').read_bytes()


def test_a_file_of_this_package_keeps_its_normalization(tmp_path, capsys) -> None:
  numbers = {'normalize.mean': [[[0.25]]], 'normalize.std': [[[0.5]]]}
  theirs = {
    f'{new}.{part}': tensors()[f'{old}.{part}']
    for old, new in (('conv', 'Conv_0'), ('out', 'logits'))
    for part in ('weight', 'bias')
  }
  theirs |= {name: np.array(values, np.float32) for name, values in numbers.items()}
  file = write_safetensors(tmp_path / 'net.safetensors', theirs)
  with pytest.raises(UserError, match=r'the mean 0\.25, and --config\.data\.mean is \(0\.0,\)'):
    command(tmp_path, file)
  made = command(tmp_path, file, '--config.data.normalize=channel')
  assert 'normalized by the file' in capsys.readouterr().out
  pixels = np.full((1, 28, 28, 1), 255, np.uint8)
  assert np.array_equal(classifier.load(made).normalize(pixels), np.full((1, 28, 28, 1), 1.5))
  theirs['Conv_0.weight'] = np.zeros((2, 1, 5, 5), np.float32)
  with pytest.raises(
    UserError, match=r'it has Conv_0\.weight \[2, 1, 5, 5\] in place of \[2, 1, 3'
  ):
    imports.read(write_safetensors(file, theirs), target())


def test_what_the_user_can_mend(tmp_path) -> None:
  file = write_safetensors(tmp_path / 'net.safetensors', tensors(3))
  no_data = '--config.data.normalize=channel', f'--config.data.dir={tmp_path}'
  with pytest.raises(UserError, match=r'out is \[3, 392\] where this one has \[10, 392\]'):
    command(tmp_path, file)
  with pytest.raises(UserError, match='each class needs a name of its own'):
    command(tmp_path, file, '--labels=a,b,a')
  with pytest.raises(UserError, match='there is no such file; write NAME,NAME'):
    command(tmp_path, file, '--labels=names.txt')
  with pytest.raises(UserError, match='there is no such file; write NAME,NAME'):
    command(tmp_path, file, '--labels=')
  with pytest.raises(UserError, match=r"'b\\x1b' is no name of a class"):
    command(tmp_path, file, '--labels=a,b\x1b,c')
  with pytest.raises(UserError, match='no such file of weights'):
    command(tmp_path, tmp_path / 'none.pth')
  (tmp_path / 'net.onnx').touch()
  with pytest.raises(UserError, match=r'net\.onnx is none of \.keras, '):
    command(tmp_path, tmp_path / 'net.onnx')
  with pytest.raises(UserError, match=r'--epsilon=2\.0'):
    command(tmp_path, file, '--epsilon=2')
  with pytest.raises(UserError, match=r'only the data of the config tell what --config\.data'):
    command(tmp_path, file, '--labels=a,b,c', *no_data)
  assert not (tmp_path / 'made').exists()
  (tmp_path / 'names.txt').write_text('cat\ndog\n\ncow\n')
  made = command(tmp_path, file, f'--labels={tmp_path / "names.txt"}')
  assert classifier.load(made).class_names == ('cat', 'dog', 'cow')
  with pytest.raises(UserError, match='made is there already'):
    command(tmp_path, file, '--labels=a,b,c')


@pytest.mark.parametrize('key', ['model_state_dict', 'state_dict', 'model', 'net'])
def test_a_checkpoint_of_a_training_has_its_network_read(tmp_path, key) -> None:
  """As tutorials save it, beside the state of an optimizer, whose entries are numbers."""
  torch = pytest.importorskip('torch')
  network = torch.nn.Linear(2, 3)
  optimizer = torch.optim.Adam(network.parameters())
  network(torch.ones(1, 2)).sum().backward()
  optimizer.step()
  content = {'epoch': 2, key: network.state_dict(), 'optimizer': optimizer.state_dict()}
  torch.save({**content, 'loss': torch.tensor(0.5)}, tmp_path / 'last.pth')
  found = torch_files.read(tmp_path / 'last.pth')
  assert sorted(found) == ['bias', 'weight']
  np.testing.assert_array_equal(found['weight'], network.weight.detach().numpy())


def target() -> imports.Target:
  """Of `SOURCE`."""
  config = get_config()
  config.data.name = 'mnist'
  config.model = ConfigDict({'name': 'conv_net', 'widths': (2,), 'block': ('conv3', 'max_pool')})
  return imports.make_target(config, list('0123456789'), (28, 28, 1))


@pytest.mark.thorough
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_damaged_files(suffix, tmp_path, monkeypatch) -> None:
  """300 of each through the command: one sentence that names the file, and no folder."""
  file = tmp_path / f'net{suffix}'
  if suffix == '.pth':
    torch = pytest.importorskip('torch')
    torch.save({name: torch.from_numpy(array) for name, array in tensors().items()}, file)
  else:
    write_safetensors(file, tensors())
  whole = file.read_bytes()
  made = target()
  monkeypatch.setattr(imports, 'make_target', lambda *_: made)
  refused = 0
  for number, content in enumerate(mutated(whole, 300, 0)):
    file.write_bytes(content)
    folder = tmp_path / str(number)
    with little_memory(), only_user_errors(str(file)):
      imported.make_model_folder(file, made.config, folder)
      continue
    refused += 1
    assert not folder.exists()
  assert refused >= 150
