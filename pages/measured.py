"""What results/ holds of a config, as tables. Every number is that of a row."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import tables
from benchmarks.results.reproduction import hardware_of
from pages.text import code, table

Row = dict[str, str]


@functools.cache
def rows(name: str) -> list[Row]:
  """The rows of results/NAME.csv."""
  return tables.read(tables.RESULTS / f'{name}.csv')


def curve(run: str) -> list[dict[str, float]]:
  """The epochs of a run's curve; [] without one."""
  return [
    {name: float(value) for name, value in row.items()}
    for row in tables.read(tables.RESULTS / 'curves' / f'{run}.csv')
  ]


def hardware(run: Row) -> str:
  """What a row of runs.csv was trained on."""
  return hardware_of(run)


def of_config(name: str) -> Iterator[str]:
  """The section on what was published and measured of a config."""
  parts = [*_reproduction(name), *_times(name), *_photographs(name), *_throughput(name)]
  yield '## Published and measured\n'
  yield from parts or ['No run of this config has been measured.\n']


def _reproduction(name: str) -> Iterator[str]:
  found = [row for row in rows('reproduction') if row['system'] == name]
  if not found:
    return
  yield table(
    ('options', 'published', 'in', 'on', 'ours', 'n', 'epochs', 'in at most', 'measured on'),
    [
      (
        words_as_code(row['options']),
        row['claim'],
        row['time'],
        row['hardware'],
        accuracy_of(row),
        row['n'],
        epochs_of(row),
        f'{int(row["our_seconds"]):,} s' if row['our_seconds'] else '',
        row['our_hardware'],
      )
      for row in found
    ],
    '----::::-',
  )
  commands = list(dict.fromkeys(row['our_command'] for row in found if row['our_command']))
  yield (
    'Accuracy after the last update, mean and standard deviation over n seeds; on the test set, '
    'where the article reports that. Seconds are upper bounds, since other work shared the '
    'machine. From [reproduction.csv](../../results/reproduction.csv)'
    + (', measured by\n' if commands else '.\n')
  )
  if commands:
    yield code('bash', '\n'.join(f'python {command}' for command in commands))


def words_as_code(options: str) -> str:
  """Options of a command line, each as code."""
  return ' '.join(f'`{word}`' for word in options.split())


def accuracy_of(row: Mapping[str, str]) -> str:
  """'83.82 %', '94.01 ± 0.23 % in bfloat16' or 'not run', of a row of reproduction.csv."""
  if not row['n']:
    return 'not run'
  spread = f' ± {row["our_std"]}' if row['our_std'] else ''
  precision = '' if row['our_precision'] == 'float32' else f' in {row["our_precision"]}'
  return f'{row["our_accuracy"]}{spread} %{precision}'


def epochs_of(row: Mapping[str, str]) -> str:
  """'100', or '5 of 200' where no run is as long as the published one."""
  complete = row['our_epochs'] in ('', row['epochs'])
  return row['epochs'] if complete else f'{row["our_epochs"]} of {row["epochs"]}'


def times(config: str = '') -> list[tuple[str, ...]]:
  """Accuracy and seconds from the start of the process: a row for each config, options, machine and
  compiler flags.
  """
  groups: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
  for row in rows('time_to_accuracy'):
    name = row['config'].removeprefix('configs/').removesuffix('.py')
    if config in ('', name):
      way = (name, row['overrides'], _machine(row), row['jax'], row['cold'], row['xla_flags'])
      groups[way].append(row)
  return [
    (
      f'`{name}`',
      words_as_code(overrides),
      machine,
      jax,
      'empty' if cold == 'True' else 'kept',
      str(len(seeds)),
      f'{tables.mean_and_deviation([100 * float(row["test_accuracy"]) for row in seeds], 2)} %',
      f'{tables.mean_and_deviation([float(row["seconds"]) for row in seeds], 1)} s',
      f'`{flags}`' if flags else '',
    )
    for (name, overrides, machine, jax, cold, flags), seeds in sorted(groups.items())
  ]


TIMES = (
  *(
    'config',
    'options',
    'machine',
    'jax',
    'compiled programs',
    'n',
    'test accuracy',
    'from process start',
  ),
  'compiler flags',
)


def _times(name: str) -> Iterator[str]:
  found = times(name)
  if found:
    yield '### Seconds from the start of the process\n'
    yield table(TIMES[1:], [row[1:] for row in found], '----:::-')
    yield (
      'Mean and standard deviation over n seeds, each in a process of its own. From '
      '[time_to_accuracy.csv](../../results/time_to_accuracy.csv), measured by\n'
    )
    options = list(dict.fromkeys(row['overrides'] for row in _of(name)))
    line = f'python -m benchmarks time_to_accuracy --config=configs/{name}.py --runs=5'
    yield code('bash', '\n'.join(f'{line} {words}'.rstrip() for words in options))


def _of(name: str) -> list[Row]:
  return [row for row in rows('time_to_accuracy') if row['config'] == f'configs/{name}.py']


def _machine(row: Row) -> str:
  if match := re.search(r'gpu.*\((.*)\)', row['devices']):
    return f'{match[1]}'
  return row['processor']


def photographs(config: str = '') -> list[tuple[str, ...]]:
  """Validation accuracy on photographs, a row for each config."""
  groups: defaultdict[str, list[Row]] = defaultdict(list)
  for row in rows('photographs'):
    if config in ('', row['config']):
      groups[row['config']].append(row)
  return [
    (
      f'`{name}`',
      seeds[0]['train_examples'],
      seeds[0]['validation_examples'],
      str(len(seeds)),
      f'{tables.mean_and_deviation([100 * float(row["val_accuracy"]) for row in seeds], 2)} %',
      _range([float(row['last_epoch']) for row in seeds]),
      f'{_range([float(row["seconds"]) for row in seeds])} s',
      seeds[0]['machine'],
    )
    for name, seeds in groups.items()
  ]


PHOTOGRAPHS = (
  *('config', 'trained on', 'validated on', 'n', 'validation accuracy', 'epochs'),
  *('in at most', 'machine'),
)


def _photographs(name: str) -> Iterator[str]:
  found = photographs(name)
  if found:
    yield '### On photographs of cats and dogs\n'
    yield table(PHOTOGRAPHS[1:], [row[1:] for row in found], '::::::-')
    yield (
      'Mean and standard deviation over n seeds, after the last update. From '
      '[photographs.csv](../../results/photographs.csv).\n'
    )


SYSTEMS = {
  'ours': 'cifar_jax',
  'plain': 'Flax and XLA, unmodified',
  'pytorch': 'PyTorch',
  'pytorch_compiled': 'PyTorch, compiled',
  'keras_tensorflow': 'Keras on TensorFlow',
  'keras_jax': 'Keras on JAX',
}
THROUGHPUT = (
  *('config', 'options', 'batch', 'precision', 'system', 'images per second', 'lowest to highest'),
  *('turns', 'versions', 'machine'),
)


def throughput(name: str = '', file: str = 'throughput') -> list[tuple[str, ...]]:
  """Images per second of whole training steps."""
  return [
    (
      f'`{row["config"]}`',
      words_as_code(row['overrides']),
      row['batch_size'],
      'bfloat16' if row['system'].endswith('_bfloat16') else 'float32',
      SYSTEMS[row['system'].removesuffix('_bfloat16')],
      f'{float(row["images_per_second"]):,.0f}',
      f'{float(row["lowest"]):,.0f} to {float(row["highest"]):,.0f}',
      row['repeats'],
      row['version'],
      row['machine'],
    )
    for row in rows(file)
    if name in ('', row['config'])
  ]


def _throughput(name: str) -> Iterator[str]:
  found = throughput(name)
  if found:
    yield '### Images per second of training steps\n'
    yield table(THROUGHPUT[1:], [row[1:] for row in found], '-:--:::--')
    yield (
      'Medians of turns, each system in its own process. From '
      '[throughput.csv](../../results/throughput.csv); [how it was measured]'
      '(../../results/README.md).\n'
    )


def _range(values: Sequence[float]) -> str:
  low, high = f'{min(values):,.0f}', f'{max(values):,.0f}'
  return low if low == high else f'{low} to {high}'
