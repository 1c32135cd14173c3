"""A page for each config, and a list of them: what it says of itself, its network and command, what
was published and what was measured, and where it differs from the defaults.
"""

import inspect
import io
import pathlib
import re
import tokenize
from collections.abc import Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from benchmarks.results.reproduction import system_of
from cifar_jax import config as configs
from cifar_jax import models
from cifar_jax.analysis import layer_table
from cifar_jax.analysis.layer_table import NetworkSummary
from cifar_jax.data.expected import expected
from cifar_jax.figures import charts, files
from cifar_jax.zoo import entries
from pages import drawing, measured
from pages.text import as_markdown, code, table

ROOT = pathlib.Path(__file__).parent.parent
_FOLDER_CLASSES = 2  # of a folder of photographs, which is not there
_GIGA, _MEGA = 10**9, 10**6


class Described(NamedTuple):
  """A config and its network."""

  name: str
  about: str
  source: str
  config: ConfigDict
  image_shape: tuple[int, int, int]
  num_classes: int
  network: NetworkSummary

  @property
  def title(self) -> str:
    """The first sentence of its docstring."""
    return ' '.join(self.about.split('\n\n')[0].split())


def pages() -> dict[str, str]:
  """The text of each page by its path in docs/."""
  found = [described(path) for path in sorted((ROOT / 'configs').glob('[!_]*.py'))]
  made = {f'configs/{each.name}.md': page(each) for each in found}
  return {'configs/index.md': overview(found), **made}


def described(path: pathlib.Path) -> Described:
  """Reads a config file and traces its network, for two classes where photographs are its data."""
  module = configs.import_file(str(path))
  config = module.get_config()
  said = expected(config.data)
  classes = said.num_classes if said.knows_classes else _FOLDER_CLASSES
  network = layer_table.describe(models.create(config.model, classes), said.image_shape)
  about = inspect.getdoc(module) or ''
  return Described(
    path.stem, about, path.read_text('utf-8'), config, said.image_shape, classes, network
  )


def overview(found: list[Described]) -> str:
  """The list of all configs."""
  rows = [
    (
      f'[`{each.name}`]({each.name}.md)',
      re.split(r'; [\d,]+ (?:trained )?parameters', each.title)[0].rstrip('.'),
      f'{each.network.parameters.total:,}',
      operations(each.network.macs),
    )
    for each in found
  ]
  return (
    '# Configs\n\nA config file is a recipe: data, network, optimizer and length. Each has a page '
    'with its network, its command and what was measured. Parameters include running statistics; '
    'multiply-adds are those of the forward pass of one image.\n\n'
    + table(('config', 'what it is', 'parameters', 'multiply-adds'), rows, '--::')
    + '\nA config of your own is such a file: see [your network](../tutorials/your_network.md), '
    'and all [options](../options.md).\n'
  )


def page(each: Described) -> str:
  """The page of a config."""
  count = each.network.parameters
  height, width, channels = each.image_shape
  facts = [
    ('images', f'{height} \xd7 {width} \xd7 {channels}'),
    ('classes', f'{each.num_classes}'),
    ('layers', f'{len(each.network.layers):,}'),
    ('trained parameters', f'{count.trainable:,}'),
    *([('running statistics', f'{count.non_trainable:,}')] if count.non_trainable else []),
    ('multiply-adds, forward pass of an image', operations(each.network.macs)),
    ('floating-point operations, training on an image', operations(6 * each.network.macs)),
  ]
  assumed = each.config.data.name == 'folder'
  line = f'python launch.py --config=configs/{each.name}.py'
  shown = rf'python launch\.py --config[= ]configs/{each.name}\.py'
  parts = [
    f'---\ntitle: {each.name}\n---\n\n# `{each.name}`\n',
    as_markdown(each.about),
    *([] if re.search(shown, each.about) else [code('bash', line)]),
    'The same line resumes a run that was interrupted. The run is in '
    f'`runs/{each.name}`; [files of a run](../files.md) says what it holds.\n',
    *_trained(each.name),
    *measured.of_config(each.name),
    *_curves(each.name),
    '## Network\n',
    drawing.network(each.network.layers),
    table(('quantity', 'number'), facts, '-:'),
    *(
      ['\nThe classes are those of the folder of images; two are assumed here.\n']
      if assumed
      else []
    ),
    '\n??? note "Layer by layer"\n',
    '    Printed by\n',
    _indented(
      code(
        'bash',
        f'python -m cifar_jax summary --config=configs/{each.name}.py' + _size(each, assumed),
      )
    ),
    _indented(code('text', each.network.drawing)),
    '## Options that differ from the defaults\n',
    _differences(each),
    '\nAll other options are as in [the reference](../options.md).\n',
    f'??? note "The file: configs/{each.name}.py"\n',
    _indented(code('python', each.source.rstrip())),
  ]
  return '\n'.join(parts)


def operations(count: int) -> str:
  """'13.99 million', to four digits."""
  if count >= _GIGA:
    return f'{count / _GIGA:.4g} billion'
  return f'{count / _MEGA:.4g} million'


def _size(each: Described, assumed: bool) -> str:
  return f' --num_classes={each.num_classes}' if assumed else ''


def _trained(name: str) -> Iterator[str]:
  """How to use its network without training, where the package has its weights, and to share it."""
  if name in entries.names():
    yield 'Trained weights come with the package:\n'
    yield code('bash', f'python -m cifar_jax predict zoo:{name} cat.jpg')
  yield 'To export or share a finished run, see [Share](../share.md).\n'


def _curves(name: str) -> Iterator[str]:
  """The curve of each run of results/runs.csv that is of this config, the ways of one below the
  other.
  """
  for run in measured.rows('runs'):
    system, _ = system_of(run['command'])
    epochs = measured.curve(run['run'])
    if system == name and len(epochs) > 1:
      watched = 'test' if run['split_note'] == 'test used as validation' else 'validation'
      drawn = charts.curves(epochs, 'accuracy', watched)
      yield f'### Curve of `{run["run"]}`\n'
      yield f'<div class="chart">{_svg(drawn)}</div>\n'
      note = f', {run["split_note"]}' if run['split_note'] else ''
      yield (
        f'`{run["command"]}`; seed {run["seed"]}, {measured.hardware(run)}{note}. Numbers: '
        f'[{run["run"]}.csv](../../results/curves/{run["run"]}.csv).\n'
      )


@charts.styled
def _svg(figure: Any) -> str:
  buffer = io.StringIO()
  figure.savefig(buffer, format='svg', metadata={'Date': None})
  return files.inline_svg(buffer.getvalue()).replace('\n', ' ')


def _differences(each: Described) -> str:
  defaults = dict(configs.flatten(configs.get_config()))
  comments = _comments(each.source)
  rows = [
    (f'`{name}`', f'`{value!r}`', f'`{defaults[name]!r}`' if name in defaults else '',
     comments.get(name, ''))
    for name, value in configs.flatten(each.config)
    if name not in defaults or defaults[name] != value
  ]  # fmt: skip
  return table(('option', 'here', 'default', 'why'), rows, '----') if rows else 'None.\n'


def _comments(source: str) -> dict[str, str]:
  """What is said behind the assignment of an option: {'data.validation': 'as the article does'}."""
  found = {}
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    match = re.match(r'\s*config\.([\w.]+) = ', token.line)
    if token.type == tokenize.COMMENT and match:
      found[match[1]] = token.string.lstrip('# ')
  return found


def _indented(text: str) -> str:
  return '\n'.join(f'    {line}'.rstrip() for line in text.splitlines()) + '\n'
