"""Pictures of what is inside a network: the same values as one by one, at a bounded cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.analysis import attribution
from cifar_jax.predict import classifier

pytest.importorskip('matplotlib')
pytest.importorskip('PIL')

import itertools

from cifar_jax.figures import image_utils, interpretability


def test_explanations_are_compiled_once_and_show_the_same(tiny_run) -> None:
  """Run operation by operation, the gradient of EfficientNet-Lite0 took 55 seconds of compiling."""
  network = classifier.load(tiny_run)
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
  classes = np.array([0, 3, 1])
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith('backend_compile_duration') else 0
  )
  found = interpretability.make_explanation(network)(images, classes)
  jax.monitoring.clear_event_listeners()
  assert len(compiled) <= 3
  inputs, layer = network.normalize(jnp.asarray(images)), interpretability.cam_layer(network)
  assert layer == 'Conv_1'
  arguments = (network.module, network.variables, inputs, jnp.asarray(classes))
  slopes = np.asarray(attribution.saliency(*arguments))
  heats = np.asarray(attribution.grad_cam(*arguments, layer))
  for image, slope, heat, shown in zip(images, slopes, heats, found, strict=True):
    expected = (image_utils.colored(np.sqrt(slope), 'inferno'), image_utils.overlay(image, heat))
    for picture, wanted in zip(shown, expected, strict=True):
      assert np.abs(picture.astype(int) - wanted).max() <= 12  # a step of the color map


def test_of_many_layers_a_few_are_shown() -> None:
  names = [str(number) for number in range(98)]
  shown = interpretability._spread(names, 24)
  assert len(shown) == len(set(shown)) == 24
  assert (shown[0], shown[-1]) == ('0', '97')
  assert {int(b) - int(a) for a, b in itertools.pairwise(shown)} == {4, 5}
  assert interpretability._spread(names[:24], 24) == names[:24]
