"""Exports: the same numbers in other software, whole or not there, and sentences about the rest."""

import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cifar_jax import commands, models
from cifar_jax.data import Split
from cifar_jax.exchange import export as exports
from cifar_jax.exchange import targets
from cifar_jax.exchange.export import export
from cifar_jax.exchange.exported import notes
from cifar_jax.exchange.targets import Options, Target, Written
from cifar_jax.predict import classifier
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.utils.errors import UserError
from cifar_jax.zoo import entries
from tests.helpers import by_hand

ALONE = """
import json, sys
import numpy as np
from jax import export
sys.modules['cifar_jax'] = None  # importing it is an error, wherever it is installed
program = export.deserialize(bytearray(open(sys.argv[1], 'rb').read()))
for count in (1, 5):
  outputs = np.asarray(program.call(np.load(sys.argv[2])[:count]))
np.save(sys.argv[3], outputs)
assert not any(name.startswith('cifar_jax.') for name in sys.modules)
print(json.dumps(program.platforms))
"""


def test_stablehlo_runs_where_this_package_is_not(tmp_path) -> None:
  network = by_hand.linear_network()
  found = export(network, 'stablehlo', tmp_path / 'out')
  assert found.parity.holds
  images = by_hand.pictures(5)
  np.save(tmp_path / 'images.npy', images)
  done = subprocess.run(
    [
      *(sys.executable, '-c', ALONE, tmp_path / 'out' / found.written.main),
      *(tmp_path / 'images.npy', tmp_path / 'outputs.npy'),
    ],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': '', 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout) == ['cpu', 'cuda', 'tpu']
  expected = by_hand.outputs(network, images)
  np.testing.assert_allclose(np.load(tmp_path / 'outputs.npy'), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ('options', 'whitened'),
  [
    (Options('beside', 'probabilities'), True),
    pytest.param(Options('inside'), True, marks=pytest.mark.thorough),
    pytest.param(Options('beside'), False, marks=pytest.mark.thorough),
    pytest.param(Options('inside', 'probabilities'), False, marks=pytest.mark.thorough),
  ],
)
def test_what_it_takes_and_gives_is_as_asked(options, whitened, tmp_path) -> None:
  network = by_hand.linear_network(whitened)
  found = export(network, 'stablehlo', tmp_path / 'out', options)
  predict = targets.TARGETS['stablehlo'].load().open_exported(found.folder, options)
  images = by_hand.pictures(3)
  beside = options.preprocessing == 'beside'
  outputs = predict(by_hand.normalized(network, images) if beside else images)
  expected = by_hand.outputs(network, images, options.output)
  assert outputs.dtype == np.float32
  np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)
  facts = json.loads((found.folder / 'export.json').read_text())
  assert facts['class_names'] == ['ant', 'bee', 'cow']
  assert (facts['image_size'], facts['step']) == ([4, 5], 7)
  assert facts['input']['dtype'] == ('float32' if beside else 'uint8')
  assert facts['input']['shape'] == ['N', 4, 5, 3]
  assert facts['output']['kind'] == options.output
  if whitened and beside:
    matrix = np.load(found.folder / facts['normalization']['whitening'])
    np.testing.assert_array_equal(matrix, network.normalize.whitening)
  elif not whitened:
    np.testing.assert_allclose(facts['normalization']['mean'], by_hand.MEAN, rtol=1e-6)
    np.testing.assert_allclose(facts['normalization']['std'], by_hand.STD, rtol=1e-6)


def test_a_model_folder_is_taken_as_the_run(tiny_run, tmp_path, monkeypatch, capsys) -> None:
  monkeypatch.chdir(tmp_path)
  commands.main(['export', str(tiny_run), '--to=safetensors'])
  said = capsys.readouterr().out
  folder = pathlib.Path('tiny-safetensors')
  assert f'exported    {(tmp_path / folder / "model.safetensors")}' in said
  assert 'same class for 100.00 % of 90 test images' in said
  run, copy = classifier.load(tiny_run), classifier.load(folder)
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
  np.testing.assert_array_equal(run.probabilities(images), copy.probabilities(images))
  parity = json.loads((folder / 'parity.json').read_text())
  commands.main(['evaluate', str(tiny_run), '--json'])
  accuracy = json.loads(capsys.readouterr().out)['accuracy']
  assert accuracy == pytest.approx(parity['accuracy_here'])
  assert parity['accuracy_there'] == parity['accuracy_here']
  card = json.loads((folder / 'card.json').read_text())
  assert card['results'][0]['accuracy'] == pytest.approx(accuracy)
  weights = (folder / 'model.safetensors').read_bytes()
  assert card['weights']['bytes'] == len(weights)
  assert card['weights']['sha256'] == hashlib.sha256(weights).hexdigest()
  text = (folder / 'README.md').read_text()
  assert f'| {accuracy:.2%} |'.replace('%', ' %') in text
  assert 'python -m cifar_jax predict tiny-safetensors picture.jpg' in text
  assert (folder / 'metrics.csv').read_bytes() == (tiny_run / 'metrics.csv').read_bytes()
  with pytest.raises(SystemExit, match='2'):
    commands.main(['export', str(tiny_run), '--to=safetensors'])
  assert 'tiny-safetensors is there already; --overwrite' in capsys.readouterr().err
  with pytest.raises(SystemExit, match='2'):
    commands.main(
      ['import', str(folder / 'model.safetensors'), '--config=cnn_simple', '--workdir=x']
    )
  assert 'a model folder, which needs no import: name the folder' in capsys.readouterr().err


def test_a_card_has_no_accuracy_of_other_weights_than_those_exported(
  tiny_run, tmp_path, monkeypatch
) -> None:
  monkeypatch.chdir(tmp_path)
  with Checkpoints(tiny_run, read_only=True) as checkpoints:
    earlier = checkpoints.steps()[0]
    assert earlier != checkpoints.latest()
  words = ['--to=safetensors', '--images=0', f'--checkpoint={earlier}', '--out=earlier']
  commands.main(['export', str(tiny_run), *words])
  assert 'results' not in json.loads((tmp_path / 'earlier' / 'card.json').read_text())
  assert 'Not measured yet' in (tmp_path / 'earlier' / 'README.md').read_text()
  # A copy of a model folder is the same weights, wherever they lie.
  commands.main(['export', 'zoo:lr', '--to=safetensors', '--images=0', '--out=copy'])
  card = json.loads((tmp_path / 'copy' / 'card.json').read_text())
  assert card['results'] == json.loads((entries.find('lr') / 'card.json').read_text())['results']
  assert card['weights']['precision'] == 'float32'


def test_an_earlier_export_is_replaced_when_asked(tmp_path) -> None:
  out = tmp_path / 'out'
  export(by_hand.linear_network(), 'stablehlo', out)
  (out / 'earlier').touch()
  with pytest.raises(UserError, match='out is there already; --overwrite replaces it'):
    export(by_hand.linear_network(), 'stablehlo', out)
  assert (out / 'earlier').exists()
  examples = Split(by_hand.pictures(50), np.zeros(50, np.int32))
  network = by_hand.linear_network()
  found = export(
    network, 'stablehlo', out, None, lambda: (examples, 'test images'), most=20, overwrite=True
  ).parity
  assert not (out / 'earlier').exists()
  share = (by_hand.outputs(network, examples.images[:20]).argmax(1) == 0).mean()
  assert (found.judged, found.accuracy_there, found.accuracy_here) == (20, share, share)


@dataclasses.dataclass
class Wrong:
  """A target whose software gives something else."""

  change: object

  def write(self, network, folder, options) -> Written:
    self.inner = network
    (folder / 'model.wrong').write_text('wrong')
    return Written('model.wrong')

  def open_exported(self, folder, options):
    return lambda images: self.change(
      by_hand.outputs(self.inner, np.asarray(images)).astype(np.float32)
    )


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    (lambda outputs: outputs * 1.001, 'does not give what the network gives'),
    (lambda outputs: np.where(outputs == outputs.max(), np.nan, outputs), 'does not give what'),
    (lambda outputs: outputs[:, :2], r'gives float32 of the shape \[128, 2\] of 128 images'),
    (lambda outputs: outputs.astype(np.float64), 'gives float64'),
  ],
)
def test_what_is_not_equal_is_not_kept(change, sentence, tmp_path, monkeypatch) -> None:
  target = Target('wrong_export', 'wrong', (), tolerance=1e-4)
  monkeypatch.setattr(Target, 'load', lambda self: Wrong(change))
  monkeypatch.setattr(targets, 'TARGETS', {'wrong': target})
  for module in (exports, exports.parity):
    monkeypatch.setattr(module, 'TARGETS', {'wrong': target})
  with pytest.raises(UserError, match=sentence):
    export(by_hand.linear_network(), 'wrong', tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []


def test_a_network_that_diverged_is_told(tmp_path, monkeypatch) -> None:
  network = by_hand.linear_network()
  network.variables['params']['logits']['bias'][0] = np.nan
  target = Target('wrong_export', 'wrong', ())
  monkeypatch.setattr(Target, 'load', lambda self: Wrong(lambda outputs: outputs))
  for module in (exports, exports.parity):
    monkeypatch.setattr(module, 'TARGETS', {'wrong': target})
  with pytest.raises(UserError, match='by_hand gives outputs that are not finite'):
    export(network, 'wrong', tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []


def test_what_the_export_does_not_do_is_said() -> None:
  network = by_hand.linear_network()
  assert notes(network) == ()
  config = network.config.copy_and_resolve_references().unlock()
  config.evaluate.tta = 'flip'
  bordered = dataclasses.replace(network.preprocessing, height=2, width=3, pad_to=5)
  changed = dataclasses.replace(network, config=config.lock(), preprocessing=bordered)
  first, second = notes(changed)
  assert first.startswith('the test-time views of --config.evaluate.tta=flip are not in the export')
  assert second.startswith('images of 2x3 pixels go into the middle of a black square of 5 first')


def test_what_is_equal_is_kept_by_the_same_way(tmp_path, monkeypatch) -> None:
  target = Target('wrong_export', 'wrong', (), tolerance=1e-4)
  monkeypatch.setattr(Target, 'load', lambda self: Wrong(lambda outputs: outputs * 1.000001))
  for module in (exports, exports.parity):
    monkeypatch.setattr(module, 'TARGETS', {'wrong': target})
  found = export(by_hand.linear_network(), 'wrong', tmp_path / 'out').parity
  assert 0 < found.largest_difference < found.allowed
  assert (found.compared, found.equal_classes, found.accuracy_here) == (1000, 1.0, None)


@pytest.mark.parametrize('overwrite', [False, True])
def test_nothing_but_an_export_is_replaced(overwrite, tmp_path) -> None:
  (tmp_path / 'photos').mkdir()
  (tmp_path / 'photos' / 'cat.jpg').write_bytes(b'cat')
  for there in ('photos', 'photos/cat.jpg'):
    with pytest.raises(UserError, match='is there already and no export'):
      export(by_hand.linear_network(), 'stablehlo', tmp_path / there, overwrite=overwrite)
  assert (tmp_path / 'photos' / 'cat.jpg').read_bytes() == b'cat'


def test_the_layer_that_is_the_reason_is_named(tmp_path) -> None:
  with pytest.raises(UserError, match=r'^the layer \S*Middle_0/Outside_0') as caught:
    export(by_hand.network_of(by_hand.WithOutside(3)), 'stablehlo', tmp_path / 'out')
  assert 'cannot be exported to stablehlo' in str(caught.value)
  assert list(tmp_path.iterdir()) == []


def test_bfloat16_is_exported_in_float32_and_that_is_said(tmp_path) -> None:
  network = by_hand.linear_network()
  config = network.config.copy_and_resolve_references().unlock()
  config.model.dtype = 'bfloat16'
  network = dataclasses.replace(
    network, config=config.lock(), module=models.create(config.model, len(by_hand.CLASSES))
  )
  found = export(network, 'stablehlo', tmp_path / 'out')
  assert found.parity.largest_difference < 1e-4  # of the network in float32
  trained = found.parity.as_trained
  assert trained is not None
  assert trained['dtype'] == 'bfloat16'
  assert 1e-3 < trained['largest_difference'] < 1
  assert any('trained in  bfloat16, exported in float32' in line for line in found.parity.lines())
  images = by_hand.pictures(4)
  predict = targets.TARGETS['stablehlo'].load().open_exported(found.folder, Options())
  np.testing.assert_allclose(predict(images), by_hand.outputs(network, images), atol=1e-3)


def test_a_missing_package_is_told_in_a_sentence(tmp_path, monkeypatch) -> None:
  monkeypatch.setitem(sys.modules, 'jax2onnx', None)
  with pytest.raises(UserError, match=r'needs jax2onnx, .* pip install -e .*\[export\]'):
    export(by_hand.linear_network(), 'onnx', tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []


def test_a_target_without_options_says_so(tmp_path) -> None:
  with pytest.raises(UserError, match='--to=safetensors has --preprocessing=inside'):
    export(by_hand.linear_network(), 'safetensors', tmp_path / 'out', Options('beside'))
