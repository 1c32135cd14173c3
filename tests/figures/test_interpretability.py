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


def test_the_weights_of_a_dense_layer_on_pixels_are_images() -> None:
  """One for each unit, in which the weight of a pixel's channel is where that pixel is."""
  kernel = np.zeros((4 * 5 * 3, 2), np.float32)
  images = np.zeros((2, 4, 5, 3))
  images[1, 3, 2, 1] = 1  # row 3, column 2, green
  kernel[images[1].ravel() == 1, 0] = -2.0
  params = {'Dense_0': {'bias': np.zeros(2), 'kernel': kernel}, 'Dense_1': {'kernel': np.eye(2)}}
  found = interpretability.first_kernel({'params': params}, (4, 5, 3))
  assert found is not None
  assert found[0] == 'Dense_0'
  first, second = interpretability.filter_images(found[1])
  assert first[3, 2].tolist() == [128, 0, 128]
  assert (np.delete(first.reshape(-1, 3), 3 * 5 + 2, axis=0) == 128).all()
  assert (second == 128).all()
  assert interpretability.first_kernel({'params': params}, (8, 8, 3)) is None
