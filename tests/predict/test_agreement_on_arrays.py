"""predict gives images of arrays, saved as files, the probabilities that evaluate gives them."""

import dataclasses
import io
import json
import struct

import numpy as np
import pytest

pytest.importorskip('PIL')
from PIL import Image, ImageOps

from cifar_jax import commands, data
from cifar_jax.data import cifar_files
from cifar_jax.data.image_file import decode_file
from cifar_jax.predict import classifier
from tests.helpers import tiny
from tests.helpers.agreement import assert_same, drawn, evaluated, predicted, train, write_png
from tests.helpers.official_files import python3_pickle, write_folder
from tests.helpers.picture_files import picture


@pytest.mark.parametrize(
  ('channels', 'options'),
  [
    pytest.param(3, {}, marks=pytest.mark.thorough),
    (3, {'data.channels': 1, 'data.normalize': 'zca', 'data.zca_epsilon': 0.1}),
    pytest.param(
      1,
      {'data.channels': 3, 'data.pad_to': 12, 'evaluate.tta': 'flip'},
      marks=pytest.mark.thorough,
    ),
    pytest.param(4, {}, marks=pytest.mark.thorough),
    pytest.param(4, {'data.channels': 3}, marks=pytest.mark.thorough),
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


@pytest.mark.thorough
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
