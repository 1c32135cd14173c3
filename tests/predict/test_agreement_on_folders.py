"""predict and serve give each file of a folder the probabilities that evaluate gives it."""

import dataclasses
import io
import json
import math
import os
import pathlib
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

pytest.importorskip('PIL')
from PIL import Image

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.data.image_file import decode_file
from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.models import pretrained
from cifar_jax.predict import classifier
from tests.helpers import tiny
from tests.helpers.agreement import (
  assert_folder_agrees,
  assert_same,
  evaluated,
  on_folder,
  predicted,
  train,
)
from tests.helpers.picture_files import data_config, picture, write_tree
from tests.helpers.tiny_network import NETWORK, use_as_base

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


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  root = write_tree(tmp_path_factory.mktemp('tree'), {'train/a': 10, 'train/b': 12, 'test/b': 1})
  write_photographs(root / 'test' / 'a')
  return root


@pytest.fixture(scope='module')
def padded(tree, tmp_path_factory) -> tuple[ConfigDict, pathlib.Path]:
  """A config and the folder of its run, to be read only."""
  run = tmp_path_factory.mktemp('padded') / 'run'
  return on_folder(tree, run, **{'data.folder.resize': 'pad'})


@pytest.mark.parametrize(
  'options',
  [
    pytest.param({'data.folder.interpolation': 'nearest'}, marks=pytest.mark.thorough),
    pytest.param(
      {
        'data.folder.resize': 'pad',
        'data.channels': 1,
        'data.pad_to': 11,
        'data.normalize': 'channel',
        'weight_averaging.name': 'ema',
        'weight_averaging.decay': 0.5,
        'weight_averaging.every_steps': 1,
      },
      marks=pytest.mark.thorough,
    ),
    pytest.param(
      {
        'data.folder.resize': 'crop',
        'data.folder.interpolation': 'lanczos',
        'data.normalize': 'zca',
        'data.zca_epsilon': 0.1,
        'evaluate.tta': 'flip_translate',
      },
      marks=pytest.mark.thorough,
    ),
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


def test_other_pixels_give_other_probabilities(tree, padded) -> None:
  """So the tests above can fail: the middle of a photograph is not all of it."""
  network = classifier.load(padded[1])
  path = tree / 'test' / 'a' / 'wide.jpg'
  cut = dataclasses.replace(network.preprocessing, resize='crop')
  both = [decode_file(path, each).pixels for each in (network.preprocessing, cut)]
  first, second = network.probabilities(np.stack(both))
  assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
  'features', ['cached', pytest.param('computed', marks=pytest.mark.thorough)]
)
def test_heads_on_a_published_network(capsys, tree, tmp_path, monkeypatch, features) -> None:
  """Trained and measured on maps that were kept, used on images."""
  monkeypatch.setitem(pretrained.NETWORKS, 'tiny', NETWORK)
  config = tiny.get_config()
  use_as_base(config, tmp_path, head=('flatten',), features=features)
  config.data = data_config(tree, resize='pad')
  config.data.validation = '4'
  config, run = train(config, tmp_path / 'run', **{'data.std': (0.5,)})
  assert_folder_agrees(capsys, tree, config, run)
  # The loss that training measured over the kept maps.
  label = np.array([file.label for file in list_folder(tree).splits['test']])
  probabilities = evaluated(config, run)[np.arange(len(label)), label]
  summary = json.loads((run / 'summary.json').read_text())
  assert math.isclose(summary['test_loss'], -np.log(probabilities).mean(), rel_tol=1e-5)


def test_the_web_page(tree, padded) -> None:
  pytest.importorskip('flask')
  pytest.importorskip('matplotlib')
  from cifar_jax.serve import web_app

  config, run = padded
  client = web_app.make_app(classifier.load(run), lambda: None, '127.0.0.1').test_client()
  found = []
  for file in list_folder(tree).splits['test']:
    upload = (io.BytesIO(file.path.read_bytes()), file.path.name)
    answer = client.post('/predict', data={'image': upload}).get_json()
    by_class = {each['name']: each['probability'] for each in answer['classes']}
    found.append([by_class[name] for name in ('a', 'b')])
  assert_same(np.array(found), evaluated(config, run))


def test_runs_that_did_not_write_their_preprocessing_down(capsys, tree, padded, tmp_path) -> None:
  config, run = padded[0], tmp_path / 'run'
  shutil.copytree(padded[1], run)
  about = json.loads((run / 'about.json').read_text())
  assert about.pop('preprocessing')['resize'] == 'pad'
  (run / 'about.json').write_text(json.dumps(about))
  assert_folder_agrees(capsys, tree, config, run)
  (run / 'about.json').unlink()  # nor anything else
  assert_folder_agrees(capsys, tree, configs.read(run), run)
