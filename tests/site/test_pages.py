"""The generated pages: what they say of networks, measurements, commands and runs."""

import csv
import functools
import pathlib
import re
import statistics

import pytest

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.analysis import layer_table
from pages import benchmarks, drawing, measured, repository, runs, text
from pages import commands as command_pages
from pages import configs as config_pages
from tests.helpers import REPOSITORY

pytest.importorskip('matplotlib')


def rows(name: str) -> list[dict[str, str]]:
  with (REPOSITORY / 'results' / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


@functools.cache
def described(name: str) -> config_pages.Described:
  return config_pages.described(REPOSITORY / 'configs' / f'{name}.py')


@pytest.mark.parametrize(
  'name',
  [
    *('lr', 'cnn_adv'),
    *(
      pytest.param(name, marks=pytest.mark.thorough)
      for name in ('vit_tiny', 'googlenet', 'densenet40_12', 'airbench96', 'wide_resnet28_10')
    ),
  ],
)
def test_a_drawing_has_all_parameters_and_few_blocks(name) -> None:
  network = described(name).network
  blocks = drawing.blocks(network.layers)
  assert sum(block.parameters for block in blocks) == network.parameters.total
  assert blocks[-1].output_shape == (10,)
  assert len(blocks) <= 34
  svg = drawing.network(network.layers)
  assert svg.count('<rect') == len(blocks) + 1  # the images are one, too


@pytest.mark.thorough
def test_equal_parts_of_a_network_are_drawn_once() -> None:
  """ResNet-20 has three stages of three blocks; the first of the later stages halves the maps."""
  labels = [block.label for block in drawing.blocks(described('resnet20').network.layers)]
  repeated = ['3 \xd7 stage0_block0', 'stage1_block0', '2 \xd7 stage1_block1', 'stage2_block0']
  assert labels == ['stem', *repeated, '2 \xd7 stage2_block1', 'logits']


def test_the_page_of_a_config() -> None:
  each = described('cnn_adv')
  page = config_pages.page(each)
  assert '| trained parameters | 642,538 |' in page
  assert '| running statistics | 448 |' in page
  before, _, source = page.partition('??? note "The file')
  assert before.count('python launch.py --config configs/cnn_adv.py\n') == 1
  assert '    config.epochs = 100\n' in source
  assert "| `data.validation` | `'test'` | `'0.1'` | as the article does; keep it out of" in page
  assert '| `epochs` | `100` | `20` |' in page
  assert '`seed`' not in page.split('## Options that differ')[1].split('??? note')[0]
  assert layer_table.keras_ascii(each.network.layers).splitlines()[-1].strip() in page
  (row,) = (row for row in rows('reproduction') if row['system'] == 'cnn_adv')
  assert (
    f'| {row["claim"]} | about 30 min | cloud GPU | {row["our_accuracy"]} % | 1 | 100 |' in page
  )
  assert '<svg' in page.split('### Curve of `cnn_adv`')[1]


def test_means_and_deviations_are_those_of_the_rows() -> None:
  page = benchmarks.page()
  groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
  for row in rows('time_to_accuracy'):
    way = ('config', 'overrides', 'devices', 'jax', 'xla_flags')
    groups.setdefault(tuple(row[name] for name in way), []).append(row)
  assert len(groups) == len(measured.times())
  for seeds in groups.values():
    accuracies = [100 * float(row['test_accuracy']) for row in seeds]
    seconds = [float(row['seconds']) for row in seeds]
    cells = (
      f'| {len(seeds)} | {statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f} % '
      f'| {statistics.mean(seconds):.1f} ± {statistics.stdev(seconds):.1f} s |'
    )
    assert cells in page
  for row in rows('throughput'):
    assert f'| {float(row["images_per_second"]):,.0f} | {float(row["lowest"]):,.0f} to ' in page
  for row in rows('photographs'):
    alike = [each for each in rows('photographs') if each['config'] == row['config']]
    values = [100 * float(each['val_accuracy']) for each in alike]
    assert f'| {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} % |' in page


def test_what_was_not_run_is_said() -> None:
  said = benchmarks.page().split('## What was not measured')[1]
  missing = [row for row in rows('reproduction') if not row['n']]
  assert said.count('\n* ') == len(missing) > 0
  assert '[`vit_tiny`](configs/vit_tiny.md)' in said
  assert 'cnn_adv.md' not in said


def test_commands_have_an_example_first() -> None:
  page = command_pages.page()
  for name in commands.make_parser().verbs.choices:
    part = page.split(f'\n### {name}\n')[1]
    assert re.match(rf'\n[^\n]+\n\n```bash\npython -m cifar_jax {name}\b', part), name
  assert page.index('\n## Train\n') < page.index('\n### lr_range\n') < page.index('\n## Look\n')
  assert '#### data fetch' in page


def test_pages_of_runs_explain_each_column_and_file() -> None:
  assert '| `learning_rate` | The learning rate of the last update' in runs.metrics()
  assert '| `val_map` | The mean over the labels of the average precision' in runs.metrics()
  assert '| `checkpoints/` |' in runs.files()


def test_links_that_leave_the_docs_lead_to_pages() -> None:
  markdown = (
    'See [it](../../cifar_jax/models/conv_net.py#L12), [the list](../options.md#config), '
    '[what is new](../../CHANGELOG.md), [all](../../results) and [JAX](https://docs.jax.dev).'
  )
  assert list(repository.links('docs/start', markdown)) == [
    *('cifar_jax/models/conv_net.py', 'CHANGELOG.md', 'results/README.md')
  ]
  assert repository.with_links('start/here.md', 'docs/start', markdown) == (
    'See [it](../source/cifar_jax/models/conv_net.py.md#__codelineno-0-12), '
    '[the list](../options.md#config), [what is new](../changelog.md), '
    '[all](../source/results/README.md.md) and [JAX](https://docs.jax.dev).'
  )
  # The changelog is at home beside docs/, its page is among them.
  moved = repository.with_links('changelog.md', '', '[options](docs/options.md)')
  assert moved == '[options](options.md)'


def test_docstrings_become_markdown() -> None:
  found = text.example_first(
    'Of two:\n\n  a\n\nTrains runs/<name>:\n\n  python launch.py\n\n* 1 +- 2 * 3 in `a*b`.\n'
  )
  assert found == (
    '```bash\npython launch.py\n```\n\nOf two:\n\n```text\na\n```\n\nTrains runs/&lt;name>.\n\n'
    '* 1 ± 2 \\* 3 in `a*b`.\n'
  )
  assert text.table(('a', 'b', 'c'), [('1', '', 'x|y'), ('2', '', 'z')], '-:-') == (
    '| a | c |\n| --- | --- |\n| 1 | x\\|y |\n| 2 | z |\n'
  )


def test_each_page_and_config_is_in_the_navigation() -> None:
  listed = re.findall(r'[\w/]+\.md', (REPOSITORY / 'mkdocs.yml').read_text().split('\nnav:')[1])
  assert len(listed) == len(set(listed))
  docs = REPOSITORY / 'docs'
  written = {path.relative_to(docs).as_posix() for path in docs.rglob('*.md')}
  assert written <= set(listed)
  of_configs = {f'configs/{path.stem}.md' for path in (REPOSITORY / 'configs').glob('[!_]*.py')}
  assert {page for page in listed if page.startswith('configs/')} == {
    'configs/index.md', *of_configs
  }  # fmt: skip


def examples(path: pathlib.Path) -> list[str]:
  return re.findall(r'^```python\n(.*?)^```', path.read_text('utf-8'), re.M | re.S)


@pytest.mark.parametrize(
  'name',
  [
    *('index', 'layers'),
    *(
      pytest.param(name, marks=pytest.mark.thorough)
      for name in ('models', 'data', 'augment', 'optim', 'ops', 'training', 'predict')
    ),
  ],
)
def test_examples_of_the_python_pages_run(name, monkeypatch, tmp_path, capsys) -> None:
  """Each page by itself from its first example on, as a reader would type it."""
  monkeypatch.chdir(REPOSITORY)
  found = examples(REPOSITORY / 'docs' / 'api' / f'{name}.md')
  assert found
  if name == 'predict':
    from cifar_jax.run_dir.progress import Progress
    from cifar_jax.trainer.loop import train

    options = ['--config.max_steps=1', '--config.tensorboard=False']
    run = tmp_path / 'runs' / 'quickstart'
    train(configs.load('configs/quickstart.py', options), run, Progress('silent'))
    monkeypatch.chdir(tmp_path)
  space: dict[str, object] = {'__name__': 'example'}
  for example in found:
    exec(compile(example, f'{name}.md', 'exec'), space)
  printed = capsys.readouterr().out
  if name == 'models':
    said = re.findall(r'print\(.*\)  # (.*)', ''.join(found))
    assert said == ['(2, 10)', '7 layers, 42,442 parameters 3915648']
    assert all(line in printed.splitlines() for line in said)
