"""Pairs of equal and of similar pictures."""

import numpy as np

from cifar_jax.data.image_folder import duplicates


def test_exact_pairs() -> None:
  first = [b'a', b'b', b'a', b'c']
  assert duplicates.exact_pairs(first, [b'x', b'a', b'c', b'a']) == [(0, 1), (3, 2), (0, 3)]


def test_near_pairs(monkeypatch) -> None:
  generator = np.random.default_rng(0)
  first = generator.integers(0, 256, (50, 9, 9)).astype(np.uint8)
  second = generator.integers(0, 256, (30, 9, 9)).astype(np.uint8)
  second[7] = np.clip(first[33].astype(int) + 3, 0, 255)  # a little brighter
  second[20] = first[2]
  second[21] = 255 - first[2]
  assert duplicates.near_pairs(first, second) == [(33, 7), (2, 20)]
  monkeypatch.setattr(duplicates, '_CHUNK', 100)  # two at a time
  assert duplicates.near_pairs(first, second) == [(33, 7), (2, 20)]


def test_pictures_without_features_are_no_pairs() -> None:
  blank = np.full((3, 9, 9), 128, np.uint8)
  assert duplicates.near_pairs(blank, blank + np.uint8(1)) == []
  assert duplicates.near_pairs(blank[:0], blank) == []
