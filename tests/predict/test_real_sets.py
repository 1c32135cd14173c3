"""A linear network of the zoo on real images, in the layouts of other sets, against NumPy."""

import os

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.predict import classifier
from cifar_jax.predict.any_set import Request
from cifar_jax.predict.measure import measure
from cifar_jax.run_dir import references
from configs import base
from tests.helpers import cifar_test_sets

pytestmark = [
  pytest.mark.thorough,
  pytest.mark.skipif(not os.environ.get('CIFAR_JAX_DATA'), reason='needs CIFAR-10'),
]


def test_softmax_regression(tmp_path) -> None:
  load_file = pytest.importorskip('safetensors.numpy').load_file
  test = data.load(base.get_config().data).test
  run = references.resolve('zoo:lr')
  network = classifier.load(run)
  options = network.config.data
  assert (options.normalize, options.name) == ('given', 'cifar10')
  tensors = load_file(run / 'model.safetensors')
  (kernel,) = (array for name, array in tensors.items() if name.endswith('kernel'))
  (bias,) = (array for name, array in tensors.items() if name.endswith('bias'))
  pixels = (test.images / np.float64(255) - np.array(options.mean)) / np.array(options.std)
  logits = pixels.reshape(len(pixels), -1) @ kernel.astype(np.float64) + bias
  logits -= logits.max(1, keepdims=True)
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  accuracy = np.mean(log_p.argmax(1) == test.labels)

  def found(name: str, folder) -> dict:
    return measure(network, Request((f'--data.name={name}', f'--data.dir={folder}'))).facts

  folder = cifar_test_sets.write_photographs(tmp_path / 'new', test.images, test.labels.tolist())
  new = found('cifar10_1', folder)
  assert new['accuracy'] == pytest.approx(accuracy, abs=2e-4)  # an image or two are close calls
  expected = -log_p[np.arange(len(log_p)), test.labels].mean()
  assert new['loss'] == pytest.approx(expected, rel=1e-4)

  votes = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), len(test))
  votes[np.arange(len(test)), test.labels] += 40
  shares = votes / votes.sum(1, keepdims=True)
  people = found('cifar10h', cifar_test_sets.write_people(tmp_path / 'people', shares))
  assert people['cross_entropy'] == pytest.approx(-(shares * log_p).sum(1).mean(), rel=1e-4)
  assert people['own_data']
  assert people['accuracy'] == new['accuracy']
