"""The target onnx beside ONNX Runtime, ONNX's own checker, and NumPy."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.results.exports import untrained
from cifar_jax.exchange.export import export
from cifar_jax.exchange.targets import Options
from cifar_jax.utils.errors import UserError
from tests.helpers import by_hand

pytestmark = pytest.mark.thorough
onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('jax2onnx')


@pytest.mark.parametrize('whitened', [False, True])
@pytest.mark.parametrize('options', [Options(), Options('beside', 'probabilities')])
def test_onnx_runtime_gives_what_numpy_gives(options, whitened, tmp_path) -> None:
  network = by_hand.linear_network(whitened)
  found = export(network, 'onnx', tmp_path / 'out', options)
  model = onnx.load(found.folder / 'model.onnx')
  onnx.checker.check_model(model, full_check=True)
  assert [(o.domain, o.version) for o in model.opset_import if not o.domain] == [('', 21)]
  metadata = {entry.key: entry.value for entry in model.metadata_props}
  assert json.loads(metadata['class_names']) == ['ant', 'bee', 'cow']
  assert metadata['preprocessing'] == options.preprocessing
  session = onnxruntime.InferenceSession(
    found.folder / 'model.onnx', providers=['CPUExecutionProvider']
  )
  (taken,), (given,) = session.get_inputs(), session.get_outputs()
  assert (taken.name, taken.shape) == ('images', ['N', 4, 5, 3])
  assert (given.name, given.shape) == (options.output, ['N', 3])
  for count in (1, 7):
    images = by_hand.pictures(count)
    beside = options.preprocessing == 'beside'
    fed = by_hand.normalized(network, images) if beside else images
    (outputs,) = session.run(None, {'images': fed})
    expected = by_hand.outputs(network, images, options.output)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
  ('name', 'overrides'),
  [
    ('airbench94', ['--config.model.widths=(4,8,8)']),
    ('convnext_tiny', ['--config.model.widths=(4,8,8,8)', '--config.model.depths=(1,1,1,1)']),
    ('densenet40_12', ['--config.model.depth=10', '--config.model.growth=4']),
    ('fast90', ['--config.model.widths=(4,4,4)']),
    ('lenet5', []),
    ('mobilenet_v2', ['--config.model.width=0.1']),
    ('resnet20', ['--config.model.widths=(4,4,4)', '--config.model.depth=8']),
    ('vit_tiny', ['--config.model.depth=1']),
  ],
)
def test_families(name, overrides, tmp_path) -> None:
  """What `export` itself would refuse is an error here."""
  network = untrained(name, overrides)
  found = export(network, 'onnx', tmp_path / 'out').parity
  assert found.largest_difference <= 1e-4 * found.largest_output
  assert found.equal_classes > 0.99


class Impossible(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    rows = jnp.ones(len(images))[:, None, None, None]
    return nn.Dense(self.num_classes)((rows * images).mean((1, 2)))


@pytest.mark.parametrize(
  ('module', 'sentence'),
  [
    (by_hand.WithOutside(3), r'^the layer \S*Outside_0 \(operation pure_callback\) cannot be'),
    (Impossible(3), r'write x.shape\[0\] in place of len\(x\)'),
  ],
)
def test_the_layer_that_is_the_reason_is_named(module, sentence, tmp_path) -> None:
  with pytest.raises(UserError, match=sentence):
    export(by_hand.network_of(module), 'onnx', tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []
