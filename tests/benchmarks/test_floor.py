"""What the benchmark of single products computes."""

import pytest

from benchmarks import command_line
from benchmarks.speed import floor
from benchmarks.speed.floor import Product, conclude, products_of
from benchmarks.speed.systems.workers import Measurement
from benchmarks.tables import RESULTS, read
from cifar_jax import config as configs

# How ml_collections reads a config file.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


def test_products_are_those_of_the_network() -> None:
  config = configs.load('configs/cnn_simple.py', ['--config.batch_size=2'])
  products = list(products_of(config))
  # By hand, for two images: 3x3 windows over 3 channels make 32 maps at 30x30 places, over 32 make
  # 64 at 13x13; 6x6x64 numbers make 10 logits.
  counts = {'Conv_0': 2 * 900 * 27 * 32, 'Conv_1': 2 * 169 * 288 * 64, 'logits': 2 * 2304 * 10}
  parts = ['forward', 'to inputs', 'to kernel']
  names = [(layer, part) for layer in counts for part in parts]
  names.remove(('Conv_0', 'to inputs'))  # nothing needs the gradient of the images
  assert [(product.layer, product.part) for product in products] == names
  for product in products:
    assert product.macs == counts[product.layer]


def test_sums_of_a_network_of_one_layer(capsys) -> None:
  """10^9 multiply-adds in 10 ms forward and 30 backward, in a step of 50; no gradient of inputs."""
  forward = Product('logits', 'forward', '', 10**9, seconds=[0.01])
  to_kernel = Product('logits', 'to kernel', '', 10**9, seconds=[0.03])
  conclude([forward, to_kernel], Product('', '', '', 2 * 10**9, seconds=[0.05]), best=forward.rate)
  lines = [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]
  assert lines == [
    'forward 10.0 ms, 200 GFLOP/s',
    'to kernel 30.0 ms, 67 GFLOP/s',
    'products 40.0 ms, 80 % of the step',
    'all the rest 10.0 ms',
    'at the best rate 20.0 ms, 200 GFLOP/s',
  ]


class Scripted:
  """A worker whose three steps take 6 s."""

  def __init__(self, *_: object):
    pass

  def measure(self, steps: int) -> Measurement:
    return Measurement(steps, 2.0 * steps, 0, 0)

  def close(self) -> None:
    pass


def test_rows_are_those_of_the_kept_results(monkeypatch, tmp_path, capsys) -> None:
  replaced = {'Worker': Scripted, 'set_up_process': lambda: None, '_SIZES': (8,), '_SECONDS': 0}
  for name, value in replaced.items():
    monkeypatch.setattr(floor, name, value)
  out = tmp_path / 'floor.csv'
  words = ['--config=configs/lr.py', '--config.batch_size=5000', '--repeats=1', f'--out={out}']
  command_line.main(['floor', *words])
  rows = read(out)
  assert list(rows[0]) == list(read(RESULTS / 'floor.csv')[0])
  assert [(row['layer'], row['part']) for row in rows] == [
    ('square product', ''),
    ('logits', 'forward'),
    ('logits', 'to kernel'),
    ('whole step', ''),
  ]
  # Forward and backward 5,000 x 3,072 x 10 multiply-adds each, in 2 s.
  assert (rows[-1]['ms'], float(rows[-1]['gflops'])) == ('2000.0', round(4 * 0.1536 / 2, 1))
  assert 'whole step' in capsys.readouterr().out
