"""The page of measurements, made from the tables in results/."""

import datetime
import pathlib
import re
import shutil
import subprocess

from benchmarks import tables
from pages import measured
from pages.measured import accuracy_of, epochs_of, rows
from pages.text import code, table

ROOT = pathlib.Path(__file__).parent.parent


def pages() -> dict[str, str]:
  """The page by its path in docs/."""
  return {'benchmarks.md': page()}


def page() -> str:
  """The text of the page."""
  return '\n'.join(
    [
      '# Benchmarks\n',
      'Every number on this page comes from a table in `results/`, or is a mean or deviation of '
      'its rows. Accuracy is that after the last update, never that of the best epoch, on the '
      'whole test set of CIFAR-10 unless a table says otherwise. A mean is given with its standard '
      'deviation and the number n of seeds. [How each table was measured, and what counts as '
      'evidence](../results/README.md).\n',
      *_section(
        'Seconds to an accuracy',
        'time_to_accuracy',
        'From the start of the process to the end of the run, each seed in a process of its own.',
        'python -m benchmarks time_to_accuracy --config=configs/fast83.py --runs=5',
        table(measured.TIMES, measured.times(), '-----:::-'),
      ),
      *_section(
        'Published and reproduced',
        'reproduction',
        'What the articles report, and what our runs of the same length reached. Seconds are upper '
        'bounds, since most runs shared their machine.',
        'python -m benchmarks reproduction',
        _reproduction(),
      ),
      '![The curves of runs beside what their articles report](pictures/curves.png)\n',
      *_section(
        'On photographs',
        'photographs',
        'Validation accuracy on photographs of cats and dogs.',
        'python -m benchmarks collect --table=photographs runs/catsdogs_scratch',
        table(measured.PHOTOGRAPHS, measured.photographs(), '-::::::-'),
      ),
      *_section(
        'Images per second of training',
        'throughput',
        'Whole training steps, medians of turns, each system in its own process.',
        'python -m benchmarks throughput --configs=cnn_adv --systems=ours,pytorch --repeats=5',
        table(measured.THROUGHPUT, measured.throughput(), '--:--:::--'),
      ),
      *_section(
        'The same, for an earlier version',
        'throughput_before',
        'Also beside Keras and unmodified Flax.',
        'python -m benchmarks throughput --configs=cnn_adv --systems=plain,keras_tensorflow',
        table(measured.THROUGHPUT, measured.throughput(file='throughput_before'), '--:--:::--'),
      ),
      *_section(
        'How a step grows',
        'scaling',
        'A step of training by batch size, width, depth and number of devices, medians of turns. '
        'The devices are simulated by the cores of one processor.',
        'python -m benchmarks scaling --option=batch_size --values=32;128;512',
        _plain('scaling', ('config', 'option', 'value', 'batch_size', 'step_ms',
                           'images_per_second', 'repeats', 'version', 'machine')),
      ),
      *_section(
        'Until the first step is done',
        'startup',
        'Seconds from the start of the process, medians.',
        'python -m benchmarks startup --configs=cnn_adv --systems=ours,pytorch --repeats=5',
        _plain('startup', ('config', 'system', 'cache', 'ready_seconds', 'first_step_seconds',
                           'lowest', 'highest', 'repeats', 'machine')),
      ),
      *_section(
        'Photographs per second',
        'pipeline',
        'From files to augmented batches, without training.',
        'python -m benchmarks pipeline --folder=catsdogs',
        _plain('pipeline', ('config', 'image_size', 'stage', 'images', 'images_per_second',
                            'lowest', 'highest', 'repeats', 'version', 'machine')),
      ),
      *_section(
        'What each product of a step costs',
        'floor',
        'Each convolution and dense layer alone, forward and backward, beside square products.',
        'python -m benchmarks floor --config=configs/cnn_pkaur.py',
        _plain('floor', ('config', 'layer', 'part', 'shape', 'ms', 'gflops', 'turns', 'machine')),
      ),
      *_section(
        'Programs compiled for TPUs',
        'tpu',
        'What the TPU compiler reports for slices that were not available. Nothing in this table '
        'ran on a TPU.',
        'python -m benchmarks tpu',
        _plain('tpu', ('config', 'overrides', 'topology', 'program', 'commit', 'compile_seconds',
                       'arguments_mib', 'temporaries_mib', 'collectives', 'estimated_cycles')),
      ),
      '## What was not measured\n',
      'No row here was measured on a TPU, on an AMD or Apple GPU, or on several hosts. We '
      'have no run for these published figures:\n',
      _not_run(),
      '\nAnd these configs have no measured run at all: '
      + ', '.join(f'[`{name}`](configs/{name}.md)' for name in _unmeasured())
      + '.\n',
    ]
  )  # fmt: skip


def _section(title: str, name: str, about: str, command: str, content: str) -> list[str]:
  date = _changed(tables.RESULTS / f'{name}.csv')
  when = f'The table last changed on {date}.' if date else ''
  return [
    f'## {title}\n',
    f'{about} From [{name}.csv](../results/{name}.csv), written by\n',
    code('bash', command.replace('32;128;512', "'32;128;512'")),
    f'{when}\n',
    content,
  ]


def _changed(path: pathlib.Path) -> str:
  """The day of the last commit that changed a file, '28 November 2026'; '' where git is silent."""
  if shutil.which('git') is None:
    return ''
  words = ('git', 'log', '-1', '--format=%cs', '--', path.relative_to(ROOT).as_posix())
  said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
  if not said:
    return ''
  day = datetime.date.fromisoformat(said)
  return f'{day.day} {day:%B %Y}'


def _reproduction() -> str:
  legend = '; '.join(f'{code}: {title}' for code, title in _articles().items())
  head = (
    'config',
    'article',
    'published',
    'in',
    'ours',
    'n',
    'epochs',
    'in at most',
    'measured on',
  )
  return f'{legend}.\n\n' + table(
    head,
    [
      (
        ' '.join([_link(row['system']), *(f'`{word}`' for word in row['options'].split())]),
        row['article'],
        row['claim'],
        ' on '.join(part for part in (row['time'], row['hardware']) if part),
        accuracy_of(row),
        row['n'],
        epochs_of(row),
        f'{int(row["our_seconds"]):,} s' if row['our_seconds'] else '',
        row['our_hardware'],
      )
      for row in rows('reproduction')
    ],
    '----::::-',
  )


def _articles() -> dict[str, str]:
  """The title and origin of each article, as the configs that follow it name them."""
  found: dict[str, str] = {}
  for row in rows('published'):
    path = ROOT / f'configs/{row["system"]}.py'
    text = ' '.join(path.read_text('utf-8').split()) if path.exists() else ''
    if match := re.search(r'Follows ("[^"]+" \([^)]*\))', text):
      found.setdefault(row['article'], match[1])
  return dict(sorted(found.items()))


def _plain(name: str, columns: tuple[str, ...]) -> str:
  """Some columns of a table as they are."""
  numbers = {
    *('value', 'batch_size', 'step_ms', 'images_per_second', 'repeats', 'ready_seconds'),
    *('first_step_seconds', 'lowest', 'highest', 'images', 'ms', 'gflops', 'turns'),
    *('compile_seconds', 'arguments_mib', 'temporaries_mib', 'estimated_cycles'),
  }
  align = ''.join(':' if column in numbers else '-' for column in columns)
  head = tuple(column.replace('_', ' ') for column in columns)
  return table(head, [[row[column] for column in columns] for row in rows(name)], align)


def _link(name: str) -> str:
  return f'[`{name}`](configs/{name}.md)' if (ROOT / f'configs/{name}.py').exists() else f'`{name}`'


def _not_run() -> str:
  return ''.join(
    f'* {_link(row["system"])}, {row["article"]}: {row["claim"]} after {row["epochs"]} epochs\n'
    for row in rows('reproduction')
    if not row['n']
  )


def _unmeasured() -> list[str]:
  measured_ones = {row['system'] for row in rows('reproduction') if row['n']}
  measured_ones |= {row['config'] for row in rows('photographs')}
  measured_ones |= {pathlib.Path(row['config']).stem for row in rows('time_to_accuracy')}
  measured_ones |= {'base', 'quickstart'}  # which say that they are no recipes
  found = sorted(path.stem for path in (ROOT / 'configs').glob('[!_]*.py'))
  return [name for name in found if name not in measured_ones]
