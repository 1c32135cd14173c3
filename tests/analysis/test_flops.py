"""Against counts by hand: positions x window x channels x filters."""

import flax.linen as nn
import pytest

from cifar_jax import layers
from cifar_jax.analysis.flops import macs, peak


class Net(nn.Module):
  @nn.compact
  def __call__(self, images, train):
    del train
    maps = layers.Conv(8, 3, padding='VALID')(images)
    maps = layers.MaxPool()(maps)
    maps = layers.Conv(16, (1, 1))(maps)
    maps = layers.Conv(16, 3, strides=2, feature_group_count=4)(maps)
    return layers.Dense(10)(layers.Flatten()(maps))


@pytest.mark.parametrize('kernels', ['on', 'off'])
def test_by_hand(kernels, monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', kernels)
  expected = (
    8 * 10 * 3 * 3 * 3 * 8  # a 10 x 12 image leaves 8 x 10
    + 4 * 5 * 8 * 16  # after the pool
    + 2 * 3 * 3 * 3 * 4 * 16  # each filter sees a quarter of the channels
    + 2 * 3 * 16 * 10
  )
  assert macs(Net(), (10, 12, 3)) == expected


@pytest.mark.parametrize(
  ('kind', 'teraflops'),
  [
    ('NVIDIA H100 80GB HBM3', 989),
    ('NVIDIA H100 PCIe', 756),
    ('NVIDIA A100-SXM4-40GB', 312),
    ('Tesla T4', 65),
    ('TPU v5 lite', 197),
    ('TPU v5', 459),
    ('TPU v6 lite', 918),
    ('NVIDIA L40S', None),  # not an L4
    ('cpu', None),
  ],
)
def test_peak(kind: str, teraflops: float | None) -> None:
  assert peak(kind) == (None if teraflops is None else teraflops * 1e12)
