"""The affine sampler against SciPy on the same matrices, and the matrices against Keras's."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.augment import affine

BORDERS = ('nearest', 'reflect', 'wrap', 'zero')
INTERPOLATIONS = ('nearest', 'bilinear')

ndimage = pytest.importorskip('scipy.ndimage')

SCIPY_MODES = {
  'nearest': 'nearest',
  'reflect': 'reflect',
  'wrap': 'grid-wrap',
  'zero': 'grid-constant',
}
GENERATOR = np.random.default_rng(0)
SAMPLE = jax.jit(affine.sample, static_argnames=('interpolation', 'border'))


def scipy_sample(images: np.ndarray, matrices: np.ndarray, order: int, mode: str) -> np.ndarray:
  return np.stack(
    [
      np.stack(
        [
          ndimage.affine_transform(
            image[..., c], matrix[:, :2], matrix[:, 2], order=order, mode=mode, prefilter=False
          )
          for c in range(image.shape[2])
        ],
        axis=-1,
      )
      for image, matrix in zip(images.astype(np.float64), matrices.astype(np.float64), strict=True)
    ]
  )


def not_at_a_jump(matrices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """bool [B, H, W]: where float32 rounding of the place cannot change the nearest pixel."""
  rows, columns = np.meshgrid(*(np.arange(n) for n in shape), indexing='ij')
  places = np.einsum('bkj,jhw->bkhw', matrices[:, :, :2].astype(np.float64), [rows, columns])
  places += matrices[:, :, 2, None, None]
  return (np.abs(places - np.floor(places) - 0.5) > 1e-4).all(1)


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('shape', [(6, 9, 2), (8, 8, 3), (5, 1, 1)])
@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
def test_sampler_is_that_of_scipy(shape, interpolation, border) -> None:
  # Places far outside too, so that borders repeat several times.
  images = GENERATOR.uniform(size=(40, *shape)).astype(np.float32)
  matrices = GENERATOR.normal(size=(40, 2, 3)).astype(np.float32)
  matrices[:, :, 2] *= 8
  found = np.asarray(SAMPLE(images, matrices, interpolation=interpolation, border=border))
  order = INTERPOLATIONS.index(interpolation)
  expected = scipy_sample(images, matrices, order, SCIPY_MODES[border])
  compared = not_at_a_jump(matrices, shape[:2]) | (interpolation == 'bilinear')
  assert compared.mean() > 0.99
  np.testing.assert_allclose(found[compared], expected[compared], atol=2e-5)


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
def test_identity_is_exact(interpolation, border) -> None:
  images = GENERATOR.uniform(size=(3, 7, 8, 3)).astype(np.float32)
  nothing = np.zeros(3, np.float32)
  matrices = affine.matrices(nothing, np.zeros((3, 2)), nothing, np.ones((3, 2)), (7, 8))
  found = SAMPLE(images, matrices, interpolation=interpolation, border=border)
  np.testing.assert_array_equal(found, images)


@settings(max_examples=15, deadline=None)
@given(
  rotation=st.floats(-4, 4),
  shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
  shear=st.floats(-1, 1),
  zoom=st.tuples(st.floats(0.2, 2), st.floats(0.2, 2)),
)
def test_matrices_are_the_product_of_keras(rotation, shift, shear, zoom) -> None:
  """The 3 x 3 matrices of ImageDataGenerator, about the true centre (h - 1) / 2."""

  def array(*rows):
    return np.array([*rows, (0, 0, 1)], np.float64)

  turn = array((np.cos(rotation), -np.sin(rotation), 0), (np.sin(rotation), np.cos(rotation), 0))
  product = turn @ array((1, 0, shift[0]), (0, 1, shift[1]))
  product = product @ array((1, -np.sin(shear), 0), (0, np.cos(shear), 0))
  product = product @ array((zoom[0], 0, 0), (0, zoom[1], 0))
  height, width = 12, 15
  centre = np.array([(height - 1) / 2, (width - 1) / 2])
  product = array((1, 0, centre[0]), (0, 1, centre[1])) @ product
  product = product @ array((1, 0, -centre[0]), (0, 1, -centre[1]))
  single = lambda *value: np.array([value], np.float32)  # noqa: E731
  found = affine.matrices(
    single(rotation)[:, 0], single(*shift), single(shear)[:, 0], single(*zoom), (height, width)
  )
  np.testing.assert_allclose(found[0], product[:2], atol=2e-5)


def drawn(amount: str, size: float, **options) -> np.ndarray:
  """500 versions of one bright pixel's picture 9 x 9, moved by one kind of change alone."""
  image = np.zeros((1, 9, 9, 1), np.float32)
  image[0, 2, 6] = 1
  images = np.repeat(image, 500, axis=0)
  change = jax.jit(lambda key: affine.random_affine(key, images, **{amount: size}, **options))
  return np.asarray(change(jax.random.key(3)))


@pytest.mark.parametrize(('amount', 'axis'), [('height_shift', 1), ('width_shift', 2)])
def test_shifts_are_parts_of_the_side_and_along_it_only(amount, axis) -> None:
  moved = drawn(amount, 2 / 9, interpolation='nearest', border='zero')
  places = moved.max(axis=(3, 3 - axis)).argmax(1)
  still = moved.max(axis=(3, axis)).argmax(1)
  origin = {1: 2, 2: 6}
  assert (still == origin[3 - axis]).all()
  counts = np.bincount(places - origin[axis] + 2, minlength=5)
  assert len(counts) == 5
  # -2 .. 2 pixels, rounded: the two ends have half the weight of the three others.
  np.testing.assert_allclose(counts / 500, [0.125, 0.25, 0.25, 0.25, 0.125], atol=0.07)


def test_rotation_is_in_degrees_to_either_side() -> None:
  image = np.zeros((1, 21, 21, 1), np.float32)
  image[0, 10, 18] = 1  # right of the centre; a turn by a moves it by 8 sin a rows
  images = np.repeat(image, 400, axis=0)
  turn = jax.jit(lambda key: affine.random_affine(key, images, rotation=30.0, border='zero'))
  turned = np.asarray(turn(jax.random.key(0)))
  rows = (turned[..., 0].sum(2) * np.arange(21)).sum(1) / turned.sum((1, 2, 3))
  assert -4.2 < (rows - 10).min() < -3.7
  assert 3.7 < (rows - 10).max() < 4.2


def test_zoom_scales_rows_and_columns_independently_between_its_bounds() -> None:
  image = np.indices((31, 31)).transpose(1, 2, 0)[None].astype(np.float32) - 15
  images = np.repeat(image, 400, axis=0)
  change = jax.jit(lambda key: affine.random_affine(key, images, zoom=0.2))
  zoomed = np.asarray(change(jax.random.key(1)))
  row_factor = zoomed[:, 20, 15, 0] / 5
  column_factor = zoomed[:, 15, 20, 1] / 5
  for factor in (row_factor, column_factor):
    assert 0.799 < factor.min() < 0.82
    assert 1.18 < factor.max() < 1.201
    assert abs(factor.mean() - 1) < 0.03
  assert abs(np.corrcoef(row_factor, column_factor)[0, 1]) < 0.2


def test_each_image_has_amounts_of_its_own_and_the_key_decides() -> None:
  once, again = drawn('rotation', 90.0), drawn('rotation', 90.0)
  np.testing.assert_array_equal(once, again)
  assert len(np.unique(once.reshape(500, -1).round(4), axis=0)) > 400
