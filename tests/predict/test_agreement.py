"""predict and serve give each image file the probabilities that evaluate gives it.

What evaluation makes of an image is measured through its losses: of one image with label k, the
loss is -log p(k).
"""

import dataclasses
import io
import json
import math
import os
import pathlib
import struct

import numpy as np
import pytest
from ml_collections import ConfigDict

pytest.importorskip('PIL')
from PIL import Image, ImageOps

from cifar_jax import commands, data
from cifar_jax import config as configs
from cifar_jax.data import Split, cifar_files
from cifar_jax.data.image_file import decode_file
from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.models import pretrained
from cifar_jax.predict import classifier
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import build_trainer
from tests.helpers import tiny
from tests.helpers.official_files import python3_pickle, write_folder
from tests.helpers.picture_files import data_config, picture, write_tree
from tests.helpers.tiny_network import NETWORK, tensors, write_safetensors

PHOTOGRAPHS = pathlib.Path(os.environ.get('CIFAR_JAX_DATA', 'nowhere')) / 'catsdogs'


def write_photographs(folder: pathlib.Path) -> None:
  """One file of every kind that cameras, scanners and programs leave, none of them square."""
  folder.mkdir(parents=True, exist_ok=True)
  exif = Image.Exif()
  exif[0x0112] = 6  # the camera was held upright
  levels = np.asarray(picture(20, 31, 17).convert('L'))
  transparent = picture(21, 15, 40).convert('RGBA')
  transparent.putalpha(picture(22, 15, 40).convert('L'))
  picture(23, 90, 160).save(folder / 'wide.jpg', quality=90)
  picture(24, 160, 50).save(folder / 'turned.jpg', quality=90, exif=exif)
  picture(25, 33, 70).convert('CMYK').save(folder / 'ink.jpg')
  picture(26, 9, 25).convert('L').save(folder / 'grey.png')
  Image.fromarray(levels.astype(np.uint16) * 257).save(folder / 'sixteen.png')
  Image.fromarray(levels.astype(np.int32)).save(folder / 'thirty_two.tif')
  Image.fromarray((levels / 255).astype(np.float32)).save(folder / 'float.tif')
  transparent.save(folder / 'opacity.png')
  transparent.convert('LA').save(folder / 'grey_opacity.png')
  picture(27, 20, 33).quantize(16).save(folder / 'palette.gif', transparency=3)
  picture(28, 44, 21).save(folder / 'web.webp')
  picture(29, 8, 8).save(folder / 'its_size.bmp')


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch) -> None:
  """One image is evaluated at a time, and the other rows of its batch are blank."""
  monkeypatch.setattr('cifar_jax.trainer.evaluator.EVALUATION_BATCH', 8)


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  root = write_tree(tmp_path_factory.mktemp('tree'), {'train/a': 10, 'train/b': 12, 'test/b': 1})
  write_photographs(root / 'test' / 'a')
  return root


def train(config: ConfigDict, run: pathlib.Path, **options) -> tuple[ConfigDict, pathlib.Path]:
  """A few steps of a rate that leaves no two images with like probabilities."""
  config = config.copy_and_resolve_references().unlock()
  config.update({'epochs': 1, 'max_steps': 3, 'batch_size': 8, 'devices': 1})
  config.optimizer.name, config.optimizer.learning_rate = 'adam', 0.03
  if config.model.name == 'conv_net':
    config.model.widths, config.model.head = (4,), ('flatten',)
    config.model.block = ('conv3 same', 'max_pool', 'batch_norm')
  config.update_from_flattened_dict(options)
  config.lock()
  loop.train(config, run, Progress('silent'))
  return config, run


def on_folder(tree: pathlib.Path, run: pathlib.Path, **options) -> tuple[ConfigDict, pathlib.Path]:
  config = tiny.get_config()
  config.data = data_config(tree)
  config.data.validation = '4'
  return train(config, run, **options)


def evaluated(config: ConfigDict, run: pathlib.Path, count: int | None = None) -> np.ndarray:
  """float64 [N, classes] of the first test images, by the losses of evaluation."""
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  trainer = build_trainer(config, splits)
  with Checkpoints(run, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(trainer.abstract_state())
  test = splits.test

  def loss(place: int, label: int) -> float:
    images = np.asarray(test.images[place : place + 1])
    one = Split(images, np.array([label], np.int32))
    return trainer.evaluate(state, trainer.evaluate.place(one))['loss']

  places = range(len(test) if count is None else count)
  return np.exp([[-loss(place, label) for label in range(splits.num_classes)] for place in places])


def predicted(capsys, run: pathlib.Path, *places: pathlib.Path) -> dict[str, np.ndarray]:
  """File -> probabilities of the classes, as the command prints them."""
  capsys.readouterr()
  commands.main(['predict', str(run), *map(str, places), '--format=json', '--top=99'])
  names = classifier.load(run).class_names
  found = {}
  for line in map(json.loads, capsys.readouterr().out.splitlines()):
    by_class = {each['class']: each['probability'] for each in line['top']}
    found[line['image']] = np.array([by_class[name] for name in names])
  return found


def assert_same(found: np.ndarray, expected: np.ndarray, apart: float = 0.02) -> None:
  """Equal to the six digits that are printed, and not because the network answers one thing."""
  assert np.ptp(expected, axis=0).max() > apart
  np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
  assert np.array_equal(found.argmax(1), expected.argmax(1))


def assert_folder_agrees(capsys, tree, config: ConfigDict, run: pathlib.Path) -> None:
  files = [str(file.path) for file in list_folder(tree).splits['test']]
  found = predicted(capsys, run, tree / 'test')
  assert sorted(found) == sorted(files)
  assert_same(np.stack([found[name] for name in files]), evaluated(config, run))


@pytest.mark.parametrize(
  'options',
  [
    {'data.folder.interpolation': 'nearest'},
    {
      'data.folder.resize': 'pad',
      'data.channels': 1,
      'data.pad_to': 11,
      'data.normalize': 'channel',
      'weight_averaging.name': 'ema',
      'weight_averaging.decay': 0.5,
      'weight_averaging.every_steps': 1,
    },
    {
      'data.folder.resize': 'crop',
      'data.folder.interpolation': 'lanczos',
      'data.normalize': 'zca',
      'data.zca_epsilon': 0.1,
      'evaluate.tta': 'flip_translate',
    },
    {'data.folder.cache': False, 'data.placement': 'host', 'data.folder.workers': 1},
  ],
  ids=['stretch', 'pad, grey, border, channel, EMA', 'crop, ZCA, TTA', 'streamed'],
)
def test_folders(capsys, tree, tmp_path, options) -> None:
  if 'data.placement' in options:
    pytest.importorskip('grain')
  assert_folder_agrees(capsys, tree, *on_folder(tree, tmp_path / 'run', **options))


@pytest.mark.parametrize('resize', ['stretch', 'crop', 'pad'])
@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'lanczos'])
@pytest.mark.parametrize('cache', [True, False])
def test_every_geometry_gives_the_pixels_of_the_folder(tree, resize, interpolation, cache) -> None:
  config = data_config(tree, (12, 9), resize=resize, interpolation=interpolation, cache=cache)
  config.channels, config.pad_to = (1, 14) if resize == 'crop' else (0, 0)
  config.placement = 'device' if cache else 'host'
  dataset = data.load(config)
  found = [decode_file(file.path, dataset.preprocessing).pixels for file in list_folder(tree).files]
  images = np.concatenate([dataset.train.images[:], dataset.test.images[:]])
  assert np.array_equal(np.stack(found), images)
  assert images.shape[1:] == dataset.preprocessing.shape
  assert images.shape[1:] == ((14, 14, 1) if resize == 'crop' else (12, 9, 3))


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason='needs $CIFAR_JAX_DATA/catsdogs')
@pytest.mark.parametrize(
  ('resize', 'interpolation'), [('stretch', 'nearest'), ('crop', 'lanczos'), ('pad', 'bilinear')]
)
def test_real_photographs(capsys, tmp_path, resize, interpolation) -> None:
  for split, count in (('train', 20), ('validation', 15)):
    for kind in ('cats', 'dogs'):
      (tmp_path / 'tree' / split / kind).mkdir(parents=True)
      for path in sorted((PHOTOGRAPHS / split / kind).glob('*.jpg'))[:count]:
        (tmp_path / 'tree' / split / kind / path.name).symlink_to(path)
  options = {
    'data.folder.image_size': (64, 64),
    'data.folder.resize': resize,
    'data.folder.interpolation': interpolation,
    'optimizer.learning_rate': 0.001,  # more makes the network too sure of photographs so large
  }
  config, run = on_folder(tmp_path / 'tree', tmp_path / 'run', **options)
  files = [str(file.path) for file in list_folder(tmp_path / 'tree').splits['validation']]
  assert len(files) == 30
  found = predicted(capsys, run, tmp_path / 'tree' / 'validation')
  assert_same(np.stack([found[name] for name in files]), evaluated(config, run))


def test_other_pixels_give_other_probabilities(tree, tmp_path) -> None:
  """So the tests above can fail: the middle of a photograph is not all of it."""
  _, run = on_folder(tree, tmp_path / 'run')
  network = classifier.load(run)
  path = tree / 'test' / 'a' / 'wide.jpg'
  cut = dataclasses.replace(network.preprocessing, resize='crop')
  both = [decode_file(path, each).pixels for each in (network.preprocessing, cut)]
  first, second = network.probabilities(np.stack(both))
  assert np.abs(first - second).max() > 1e-3


def write_png(folder: pathlib.Path, images: np.ndarray) -> list[pathlib.Path]:
  """uint8 [N, H, W, C] as files that hold every bit."""
  folder.mkdir()
  paths = [folder / f'{place}.png' for place in range(len(images))]
  for path, image in zip(paths, images, strict=True):
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
  return paths


def drawn(count: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
  generator = np.random.default_rng(count)
  labels = np.arange(count) % 3
  images = generator.integers(0, 160, (count, *shape)) + 30 * labels[:, None, None, None]
  return images.astype(np.uint8), labels


@pytest.mark.parametrize(
  ('channels', 'options'),
  [
    (3, {}),
    (3, {'data.channels': 1, 'data.normalize': 'zca', 'data.zca_epsilon': 0.1}),
    (1, {'data.channels': 3, 'data.pad_to': 12, 'evaluate.tta': 'flip'}),
    (4, {}),
    (4, {'data.channels': 3}),
  ],
)
def test_npz_files(capsys, tmp_path, channels, options) -> None:
  """Images of the data's own size pass unchanged, then get the same channels and border."""
  (x, y), (test, labels) = drawn(40, 8, 9, channels), drawn(12, 8, 9, channels)
  np.savez(tmp_path / 'x.npz', x_train=x, y_train=y, x_test=test, y_test=labels)
  config = tiny.get_config()
  config.data.dir = str(tmp_path / 'x.npz')
  config, run = train(config, tmp_path / 'run', **options)
  found = predicted(capsys, run, *write_png(tmp_path / 'png', test))
  assert_same(np.stack(list(found.values())), evaluated(config, run))


def test_idx_files_with_a_border(capsys, tmp_path) -> None:
  """Digits of 28x28 in 32x32; a photograph is cut and resized to 28x28, then gets the border."""
  (x, y), (test, labels) = drawn(40, 28, 28, 1), drawn(8, 28, 28, 1)
  contents = {}
  for part, images, classes in (('train', x, y), ('t10k', test, labels)):
    head = struct.pack('>4B3I', 0, 0, 8, 3, len(images), 28, 28)
    contents[f'{part}-images-idx3-ubyte'] = head + images.tobytes()
    head = struct.pack('>4BI', 0, 0, 8, 1, len(images))
    contents[f'{part}-labels-idx1-ubyte'] = head + classes.astype(np.uint8).tobytes()
  config = tiny.get_config()
  config.data.name, config.data.dir = 'mnist', str(write_folder(tmp_path / 'idx', contents))
  config, run = train(config, tmp_path / 'run', **{'data.pad_to': 32})
  found = predicted(capsys, run, *write_png(tmp_path / 'png', test))
  assert_same(np.stack(list(found.values())), evaluated(config, run))
  about = json.loads((run / 'about.json').read_text())
  assert about['preprocessing']['height'] == 28
  image = picture(1, 60, 100)
  image.save(tmp_path / 'photograph.png')
  seen = decode_file(tmp_path / 'photograph.png', classifier.load(run).preprocessing).pixels
  middle = ImageOps.fit(image, (28, 28), Image.Resampling.LANCZOS).convert('L')
  expected = np.pad(np.asarray(middle), 2)
  assert np.abs(seen[..., 0].astype(int) - expected).max() <= 1  # Pillow rounds luma elsewhere
  # What an older version wrote down does not say 28.
  del about['preprocessing']
  (run / 'about.json').write_text(json.dumps(about))
  assert classifier.load(run).preprocessing.height == 28


def test_cifar_files(capsys, tmp_path, monkeypatch) -> None:
  smaller = [
    dataclasses.replace(version, train_records=10, test_records=10)
    for version in cifar_files.VERSIONS
  ]
  monkeypatch.setattr(cifar_files, 'VERSIONS', tuple(smaller))
  generator = np.random.default_rng(0)
  files = {}
  for name in (*(f'data_batch_{place}' for place in range(1, 6)), 'test_batch'):
    pixels = generator.integers(0, 256, (10, 3072)).astype(np.uint8)
    files[name] = python3_pickle(pixels, list(range(10)))
  config = tiny.get_config()
  config.data.name = 'cifar10'
  config.data.dir = str(write_folder(tmp_path / 'cifar-10-batches-py', files))
  config, run = train(config, tmp_path / 'run', **{'data.mean': (0.5,), 'data.std': (0.25,)})
  test = data.load(config.data).test.images[:4]
  found = predicted(capsys, run, *write_png(tmp_path / 'png', test))
  assert_same(np.stack(list(found.values())), evaluated(config, run, 4))


@pytest.mark.parametrize('features', ['cached', 'computed'])
def test_heads_on_a_published_network(capsys, tree, tmp_path, monkeypatch, features) -> None:
  """Trained and measured on maps that were kept, used on images."""
  monkeypatch.setitem(pretrained.NETWORKS, 'tiny', NETWORK)
  config = tiny.get_config()
  config.optimizer.groups.base = ConfigDict({'pattern': 'base/.*', 'frozen_from_epoch': 0})
  config.model = ConfigDict(
    {
      'name': 'pretrained',
      'network': 'tiny',
      'weights': str(write_safetensors(tmp_path / 'tiny.safetensors', tensors())),
      'head': ('flatten',),
      'features': features,
    }
  )
  config.data = data_config(tree, resize='pad')
  config.data.validation = '4'
  config, run = train(config, tmp_path / 'run', **{'data.std': (0.5,)})
  assert_folder_agrees(capsys, tree, config, run)
  # The loss that training measured over the kept maps.
  label = np.array([file.label for file in list_folder(tree).splits['test']])
  probabilities = evaluated(config, run)[np.arange(len(label)), label]
  summary = json.loads((run / 'summary.json').read_text())
  assert math.isclose(summary['test_loss'], -np.log(probabilities).mean(), rel_tol=1e-5)


def test_the_web_page(tree, tmp_path) -> None:
  pytest.importorskip('flask')
  pytest.importorskip('matplotlib')
  from cifar_jax.serve import web_app

  config, run = on_folder(tree, tmp_path / 'run', **{'data.folder.resize': 'pad'})
  client = web_app.make_app(classifier.load(run), lambda: None, '127.0.0.1').test_client()
  found = []
  for file in list_folder(tree).splits['test']:
    upload = (io.BytesIO(file.path.read_bytes()), file.path.name)
    answer = client.post('/predict', data={'image': upload}).get_json()
    by_class = {each['name']: each['probability'] for each in answer['classes']}
    found.append([by_class[name] for name in ('a', 'b')])
  assert_same(np.array(found), evaluated(config, run))


def test_runs_that_did_not_write_their_preprocessing_down(capsys, tree, tmp_path) -> None:
  config, run = on_folder(tree, tmp_path / 'run', **{'data.folder.resize': 'pad'})
  about = json.loads((run / 'about.json').read_text())
  assert about.pop('preprocessing')['resize'] == 'pad'
  (run / 'about.json').write_text(json.dumps(about))
  assert_folder_agrees(capsys, tree, config, run)
  (run / 'about.json').unlink()  # nor anything else
  assert_folder_agrees(capsys, tree, configs.read(run), run)


@pytest.mark.slow
@pytest.mark.parametrize('channels', [2, 4, 5])
def test_arrays_of_other_channels_can_be_used_and_shown(capsys, tmp_path, channels) -> None:
  """Opacity is read from files; what no file holds is said of each."""
  pytest.importorskip('flask')
  pytest.importorskip('matplotlib')
  pytest.importorskip('sklearn')
  from cifar_jax.serve import web_app

  (x, y), (test, labels) = drawn(40, 8, 9, channels), drawn(12, 8, 9, channels)
  np.savez(tmp_path / 'x.npz', x_train=x, y_train=y, x_test=test, y_test=labels)
  config = tiny.get_config()
  config.data.dir = str(tmp_path / 'x.npz')
  _, run = train(config, tmp_path / 'run')
  commands.main(['report', str(run)])
  assert (run / 'report' / 'index.html').is_file()
  (file,) = write_png(tmp_path / 'png', test[:1, ..., : 4 if channels == 4 else 1])
  client = web_app.make_app(classifier.load(run), lambda: None, '127.0.0.1').test_client()
  answer = client.post('/predict', data={'image': (io.BytesIO(file.read_bytes()), 'x.png')})
  capsys.readouterr()
  if channels == 4:
    assert answer.status_code == 200
    assert len(predicted(capsys, run, file)) == 1
  else:
    reason = f'the network takes images of {channels} channels, which no file has'
    assert reason in answer.get_json()['error']
    with pytest.raises(SystemExit):
      commands.main(['predict', str(run), str(file)])
    assert reason in capsys.readouterr().err
