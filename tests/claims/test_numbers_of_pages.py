"""The numbers on the pages are those of results/ and of the networks.

Nothing is trained here. The tables that `benchmarks.results.reproduction` and `claims` write have
tests of their own.
"""

import csv
import importlib
import pathlib
import re
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from tests.helpers import REPOSITORY

DOCS = REPOSITORY / 'docs'
MEASURED = (DOCS / 'measured.md').read_text()
TRANSFER = (DOCS / 'tutorials' / 'transfer.md').read_text()
TEXT = MEASURED + (DOCS / 'networks.md').read_text() + TRANSFER
Row = dict[str, str]


def measured(name: str) -> list[Row]:
  with (REPOSITORY / 'results' / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def tables() -> list[list[list[str]]]:
  """All tables of these pages: rows of cells, the head first, without bold face."""
  found = re.findall(r'(?:^\|.*\|$\n?)+', TEXT, re.MULTILINE)
  return [
    [
      [cell.strip().replace('**', '') for cell in line.strip('|').split('|')]
      for number, line in enumerate(table.strip().splitlines())
      if number != 1
    ]
    for table in found
  ]


def table(*head: str) -> list[list[str]]:
  """The rows below a head that starts with these cells."""
  (rows,) = [rows for rows in tables() if tuple(rows[0][: len(head)]) == head]
  return rows[1:]


def deviation(values: list[float], digits: int) -> str:
  """'83.53 ± 0.40'"""
  return f'{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}'


def config_of(name: str) -> ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config()


def parameters_of(name: str, channels: int = 3) -> tuple[int, int]:
  """Trainable numbers and running statistics of a config's network for ten classes."""
  module = models.create(config_of(name).model, 10)
  blank = jnp.zeros((1, 32, 32, channels))
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), blank, train=False))
  counts = [
    sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes.get(collection, {})))
    for collection in ('params', 'batch_stats')
  ]
  return counts[0], counts[1]


@pytest.mark.parametrize('row', table('config', 'network', 'parameters'), ids=lambda row: row[0])
def test_parameter_counts_of_the_articles_networks(row: list[str]) -> None:
  written = [int(number.replace(',', '')) for number in re.findall(r'[\d,]*\d', row[2])]
  found: list[int] = []
  for name in re.findall(r'`(\w+)`', row[0]):
    for channels in (1, 3) if name == 'lenet5' else (3,):
      trained, moving = parameters_of(name, channels)
      found += [trained, moving] if moving else [trained]
  assert sorted(set(found)) == sorted(written)


# Families whose parameters tests/models/test_families.py counts every day.
COUNTED = ('convnext_tiny', 'mobilenet_v2', 'mlp_mixer', 'wide_resnet28_10')


@pytest.mark.parametrize(
  'path',
  [
    pytest.param(
      path,
      marks=pytest.mark.thorough if path.stem.startswith(('densenet', *COUNTED)) else (),
      id=path.stem,
    )
    for path in sorted((REPOSITORY / 'configs').glob('*.py'))
  ],
)
def test_parameter_counts_in_configs(path: pathlib.Path) -> None:
  """'...; 642,538 parameters' in the first lines of a config, unless it is of photographs."""
  head = path.read_text().split('"""')[1].split('\n\n')[0]
  written = re.search(r'([\d,]*\d) parameters', head)
  if written is None or 'photographs' in path.read_text() or 'data.name = ' in path.read_text():
    pytest.skip('says no number, or of other images')
  channels = config_of(path.stem).data.channels or 3
  trained, moving = parameters_of(path.stem, channels)
  assert int(written[1].replace(',', '')) in (trained, trained + moving)  # Keras counts both


def test_accuracies_and_times_of_the_first_table() -> None:
  for system, processor, epochs, n, accuracy, seconds in table(
    'system', 'processor', 'epochs', 'n'
  ):
    name = re.findall(r'`(\w+)`', system)[0]
    number = accuracy.removesuffix('¹').strip()
    if 'Keras' in system:
      row = next(r for r in measured('keras_to_accuracy') if r['epoch'] == epochs.split()[0])
      assert number == f'{100 * float(row["test_accuracy"]):.2f} %'
      assert seconds == f'{float(row["seconds"]):.0f} s, stopped'
    elif int(n) > 1:
      rows = seeds_of(name, processor, earlier='earlier' in system)
      assert len(rows) == int(n)
      assert number == f'{deviation([100 * float(r["test_accuracy"]) for r in rows], 2)} %'
      assert seconds == f'{deviation([float(r["seconds"]) for r in rows], 1)} s'
      per_epoch = {'fast83': 192, 'fast90': 192, 'airbench94': 48}.get(name, 32)
      assert float(epochs) == pytest.approx(int(rows[0]['steps']) / per_epoch, abs=0.11)
    else:
      check_one_run(name, system, epochs, number, seconds)


def seeds_of(name: str, processor: str, earlier: bool = False) -> list[Row]:
  """The runs of time_to_accuracy.csv on a processor; those on the Zen 5 have a flag 'eltwise'."""
  rows = [r for r in measured('time_to_accuracy') if r['config'] == f'configs/{name}.py']
  if processor in ('H100', 'H200'):
    return [r for r in rows if processor in r['devices']]
  cpu = [r for r in rows if 'cpu' in r['devices']]
  if processor == 'Xeon':
    return [r for r in cpu if 'Xeon' in r['processor']]
  cpu = [r for r in cpu if 'EPYC' in r['processor']]
  if name == 'fast83':
    earlier = earlier or processor == 'Zen 5'
    cpu = [r for r in cpu if ('float32' in r['overrides']) == earlier]
  return [r for r in cpu if ('eltwise' in r['xla_flags']) == (processor == 'Zen 5')]


def check_one_run(name: str, system: str, epochs: str, accuracy: str, minutes: str) -> None:
  first_above = re.search(r'first above (\d+) %', system)
  if first_above:
    with (REPOSITORY / 'results' / 'curves' / f'{name}.csv').open(newline='') as file:
      curve = list(csv.DictReader(file))
    above = float(first_above[1]) / 100
    until = next(i for i, row in enumerate(curve, 1) if float(row['val_accuracy']) > above)
    assert until == int(epochs.split()[0])
    seconds = sum(float(row['epoch_seconds']) for row in curve[:until])
    found = float(curve[until - 1]['val_accuracy'])
  else:
    run = f'{name}_cosine' if 'falling rate' in system else name
    (row,) = [row for row in measured('runs') if row['run'] == run]
    found, seconds = float(row['test_accuracy']), float(row['seconds'])
    assert float(epochs) == pytest.approx(float(row['epochs']), abs=0.11)
    assert ('bfloat16' in system) == ('bfloat16' in row['command'])
  assert accuracy == f'{100 * found:.2f} %'
  assert float(minutes.split()[0]) == pytest.approx(seconds / 60, abs=1.0)


def test_sentences_below_the_first_table() -> None:
  text = ' '.join(MEASURED.split())
  last = [row for row in measured_curve('cnn_adv')][-11:]
  accuracies = [100 * float(row['val_accuracy']) for row in last]
  low, high, mean = min(accuracies), max(accuracies), statistics.mean(accuracies)
  assert f'between {low:.2f} and {high:.2f} %, {mean:.2f} % on average' in text
  zen5 = seeds_of('fast83', 'Zen 5')
  accuracy = deviation([100 * float(row['test_accuracy']) for row in zen5], 2)
  seconds = deviation([float(row['seconds']) for row in zen5], 1)
  assert f'`fast83` reached {accuracy} % in {seconds} s (n = {len(zen5)})' in text
  fast83 = [100 * float(row['test_accuracy']) for row in seeds_of('fast83', 'Zen 4')]
  assert f'bfloat16 are between {min(fast83):.2f} and {max(fast83):.2f} %' in text
  fast83 = [100 * float(row['test_accuracy']) for row in seeds_of('fast83', 'Zen 4', earlier=True)]
  assert f'one, {min(fast83):.2f} %, stays below 83 %' in text
  assert sum(value < 83 for value in fast83) == 1
  fast90 = [100 * float(row['test_accuracy']) for row in seeds_of('fast90', 'Zen 4')]
  assert f'between {min(fast90):.2f} and {max(fast90):.2f} %' in text
  (adv,) = [row for row in measured('runs') if row['run'] == 'cnn_adv']
  assert f'{float(adv["peak_memory_mb"]):,.0f} MiB' in text


def measured_curve(run: str) -> list[Row]:
  with (REPOSITORY / 'results' / 'curves' / f'{run}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def throughput(
  config: str, system: str, batch: int, table: str = 'throughput', machine: str = ''
) -> float:
  (row,) = [
    row
    for row in measured(table)
    if (row['config'], row['system'], row['batch_size']) == (config, system, str(batch))
    and machine in row['machine']
  ]
  return float(row['images_per_second'])


SYSTEMS = {
  'cifar_jax': 'ours',
  'Keras 3 on TensorFlow': 'keras_tensorflow',
  'PyTorch': 'pytorch',
  'Flax and XLA, unmodified': 'plain',
  'Keras 3 on JAX': 'keras_jax',
}


def test_images_per_second() -> None:
  beside = [rows for rows in tables() if rows[0][0].endswith(' (batch)')]
  heads = ['config (batch)', 'config (batch)', 'earlier version (batch)']
  assert [rows[0][0] for rows in beside] == heads
  sources = (('', 'throughput'), ('_bfloat16', 'throughput'), ('', 'throughput_before'))
  for (head, *rows), (suffix, source) in zip(beside, sources, strict=True):
    for name, *cells in rows:
      match = re.fullmatch(r'`(\w+)` \((\d+)\)', name)
      assert match
      for system, cell in zip(head[1:], cells, strict=True):
        if cell:
          found = throughput(match[1], SYSTEMS[system] + suffix, int(match[2]), source)
          assert cell.split(' (')[0] == f'{found:,.0f}', (name, system)


def test_speed_of_families_beside_pytorch() -> None:
  epyc = [row for row in measured('throughput') if 'Xeon' not in row['machine']]
  rates = {(row['config'], row['system']): row for row in epyc}

  def ratio(config: str, suffix: str) -> str:
    ours, theirs = (rates[config, f'{who}{suffix}'] for who in ('ours', 'pytorch'))
    return f'{float(ours["images_per_second"]) / float(theirs["images_per_second"]):.2f}'

  text = ' '.join(MEASURED.split())
  resnet, vit = (
    [ratio(name, suffix) for suffix in ('', '_bfloat16')] for name in ('resnet20', 'vit_tiny')
  )
  assert f"{resnet[0]} of PyTorch's speed in float32 and {resnet[1]} in bfloat16" in text
  assert f'VGG-16 at {ratio("vgg16", "_bfloat16")} in bfloat16' in text
  assert f'vision transformer at {vit[0]} and {vit[1]}' in text


@pytest.mark.parametrize('row', table('network', 'computes in'), ids=lambda row: ' '.join(row[:2]))
def test_large_networks_beside_pytorch(row: list[str]) -> None:
  suffix = '_bfloat16' if row[1] == 'bfloat16' else ''
  rows = {
    (found['config'], found['system']): found
    for found in measured('throughput')
    if found['machine'].startswith('Intel')
  }
  both = [rows[row[0].strip('`'), f'{who}{suffix}'] for who in ('ours', 'pytorch')]
  assert row[2:4] == [f'{float(found["images_per_second"]):.0f}' for found in both]
  assert row[4:] == [f'{int(found["peak_memory_mb"]):,} MiB' for found in both]


def test_images_per_second_on_the_gpu() -> None:
  systems = ('ours', 'pytorch', 'pytorch_compiled')
  for precision, *cells in table('', 'cifar_jax', 'PyTorch', 'PyTorch, compiled'):
    suffix = '_bfloat16' if precision == 'bfloat16' else ''
    for system, cell in zip(systems, cells, strict=True):
      speed = throughput('airbench94', system + suffix, 1024, machine='H200')
      assert cell == f'{speed:,.0f}'
  text = ' '.join(MEASURED.split())
  ours, peer = (
    throughput('resnet18', s, 128, machine='H200') for s in ('ours_bfloat16', 'pytorch_bfloat16')
  )
  assert f'{ours:,.0f} images per second in bfloat16; in PyTorch, without `torch.compile`,' in text
  assert f'without `torch.compile`, at {peer:,.0f}' in text


def test_how_a_step_grows() -> None:
  scaling = measured('scaling')
  (rows,) = [rows for rows in tables() if rows[0][0] == 'batch']
  for batch, cell in zip(rows[0][1:], rows[1][1:], strict=True):
    value = batch.replace(',', '')
    speeds = sorted(
      float(row['images_per_second'])
      for row in scaling
      if (row['option'], row['value']) == ('batch_size', value)
    )
    assert cell == ' to '.join(f'{speed:,.0f}' for speed in speeds)
  for head, *cells in table('at a batch of 128'):
    kinds = {'width': 'model.widths', 'convolutions': 'model.block', 'devices': 'devices'}
    (option,) = [kind for word, kind in kinds.items() if word in head.split()]
    written = [float(number) for number in re.findall(r'([\d.]+) ms', ' '.join(cells))]
    found = [float(row['step_ms']) for row in scaling if row['option'] == option]
    assert written == pytest.approx(found, rel=0.005)


def test_accuracies_on_photographs() -> None:
  for name, n, accuracy, epochs, seconds in table('config', 'n', 'validation accuracy'):
    config = re.findall(r'`(\w+)`', name)[0]
    rows = [row for row in measured('photographs') if row['config'] == config]
    assert len(rows) == int(n)
    assert accuracy == f'{deviation([100 * float(row["val_accuracy"]) for row in rows], 2)} %'
    for cell, key in ((epochs, 'last_epoch'), (seconds.split(' ¹')[0], 'seconds')):
      values = [float(row[key]) for row in rows]
      low, high = f'{min(values):.0f}', f'{max(values):.0f}'
      assert cell == (low if low == high else f'{low} to {high}')


def test_photographs_a_second() -> None:
  stages = {row['stage']: float(row['images_per_second']) for row in measured('pipeline')}
  text = ' '.join(TRANSFER.split())
  assert f'augmented at {stages["cold"]:,.0f} images per second with an empty cache' in text
  assert f'at {stages["cached"]:,.0f} from the cache' in text


def test_startup() -> None:
  first = {
    (row['system'], row['cache']): float(row['first_step_seconds']) for row in measured('startup')
  }
  text = ' '.join(MEASURED.split())
  warm, cold = first['ours', 'warm'], first['ours', 'cold']
  assert f'first step, `cnn_adv` takes {warm:.1f} s, or {cold:.1f} s if' in text
  assert f'TensorFlow takes {first["keras_tensorflow", "cold"]:.1f} s' in text
  assert f'PyTorch takes {first["pytorch", "cold"]:.1f} s' in text


PAGES = [*sorted((DOCS / 'tutorials').glob('*.md')), DOCS / 'explanations' / 'index.md']


def known_percentages() -> set[str]:
  """All accuracies in results/, to the hundredth of a percent, with those of each epoch."""
  found: set[str] = set()
  tables = [
    *(measured(name) for name in ('runs', 'reproduction', 'photographs')),
    *(measured_curve(path.stem) for path in (REPOSITORY / 'results' / 'curves').glob('*.csv')),
  ]
  for row in (row for rows in tables for row in rows):
    for name, value in row.items():
      if 'accuracy' in name and value:
        number = float(value)
        found.add(f'{number if number > 1 else 100 * number:.2f}')
  return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_percentages_of_the_tutorials(page: pathlib.Path) -> None:
  """Each with two digits behind the point is that of a run or of an article, or a mean above."""
  written = re.findall(r'(\d+\.\d\d)(?: and \d+\.\d\d)?(?: ± \d+\.\d\d)? %', page.read_text())
  means = re.findall(r'(\d+\.\d\d) ± ', MEASURED + TRANSFER)
  published = {f'{float(row["accuracy"]):.2f}' for row in measured('published') if row['accuracy']}
  assert set(written) - known_percentages() - set(means) - published == set()
