"""Short trainings, update by update, beside Keras itself.

Weights, batches and rules are the same, dropout is off. The networks are written out here in Keras'
own layers. Keras 3 still has the rules of 2017: its Adam wants the epsilon of then, and `decay` has
become a schedule.

All 50 losses of `lr` and `cnn_simple` agree within 1e-4 of themselves. The deeper networks amplify
rounding: Keras beside Keras with weights changed in their last bits departs by 4e-4 within 50
updates of `tutorial_6layer` on batches of 32 from CIFAR-10. So theirs must agree within 1e-4 for as
many updates as rounding leaves alone, and within 1e-2 to the end. In double precision all 50 losses
of `tutorial_6layer` agree within 1e-4, too, and the first one with NumPy to 15 digits; Keras on
PyTorch keeps some of its own numbers in single precision, so it is 1e-8 away from the start.

Skipped without Keras and PyTorch or TensorFlow as its back end.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.helpers.keras_training import UPDATES, config_of, keras_losses, our_training, random_data

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]


@pytest.fixture(scope='module')
def keras() -> Any:
  backends = [name for name in ('torch', 'tensorflow') if importlib.util.find_spec(name)]
  if not backends:
    pytest.skip('Keras needs PyTorch or TensorFlow')
  os.environ.setdefault('KERAS_BACKEND', backends[0])
  return pytest.importorskip('keras')


@pytest.mark.parametrize(
  ('name', 'exact_updates'),
  [('lr', UPDATES), ('cnn_simple', UPDATES), ('tutorial_4layer', 12), ('tutorial_6layer', 25)],
)
def test_losses_are_those_of_keras(keras: Any, name: str, exact_updates: int):
  data = random_data()
  start, order, found = our_training(config_of(name), data)
  expected = keras_losses(keras, name, data, start, order)
  np.testing.assert_allclose(found[:exact_updates], expected[:exact_updates], rtol=1e-4)
  np.testing.assert_allclose(found, expected, rtol=1e-2)


@pytest.mark.parametrize('name', ['lr', 'cnn_simple', 'tutorial_6layer'])
def test_losses_are_those_of_keras_in_double_precision(keras: Any, name: str):
  """On the first images of CIFAR-10 where they are at hand, all 50 losses."""
  del keras  # both libraries choose their precision when they start
  command = [sys.executable, '-m', 'tests.helpers.keras_in_double_precision', name]
  finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
  assert finished.returncode == 0, finished.stderr
  found, expected = json.loads(finished.stdout.splitlines()[-1])
  assert len(found) == UPDATES
  np.testing.assert_allclose(found, expected, rtol=1e-4)
