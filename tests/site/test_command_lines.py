"""Each command line that a reader may copy names programs, verbs, options and configs that are."""

import inspect
import pathlib
from collections.abc import Collection

import pytest

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY, command_lines
from tests.helpers.command_lines import Line


@pytest.fixture(autouse=True)
def at_home(monkeypatch) -> None:
  monkeypatch.chdir(REPOSITORY)


def check(lines: list[Line], own_files: Collection[str] = ()) -> None:
  wrong = []
  for line in lines:
    try:
      if command_lines.reason_to_skip(line.text) is None:
        command_lines.check(line.text, own_files)
    except (AssertionError, UserError) as error:
      wrong.append(f'{line.place}: {line.text}\n    {error}')
  assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
  'path', command_lines.pages(), ids=lambda path: path.relative_to(REPOSITORY).as_posix()
)
def test_command_lines_of_a_page(path: pathlib.Path) -> None:
  check(command_lines.lines_of_page(path), command_lines.files_of_page(path))


@pytest.mark.thorough
def test_command_lines_of_generated_pages() -> None:
  """Those of a config with data of its own and of one of folders stand for all; see the next test.
  What was measured is said of each.
  """
  pytest.importorskip('matplotlib')
  from pages import benchmarks, measured, runs
  from pages import commands as command_pages
  from pages import configs as config_pages

  texts = {**command_pages.pages(), **runs.pages(), **benchmarks.pages()}
  for path in (REPOSITORY / 'configs').glob('[!_]*.py'):
    texts[f'what was measured of {path.stem}'] = '\n'.join(measured.of_config(path.stem))
    if path.stem in ('lr', 'catsdogs_scratch'):
      texts[f'configs/{path.stem}.md'] = config_pages.page(config_pages.described(path))
  found = [line for name in texts for line in command_lines.lines_of_markdown(name, texts[name])]
  assert len(found) > 100
  check(found)


@pytest.mark.thorough
def test_command_lines_of_configs() -> None:
  found = []
  for path in sorted((REPOSITORY / 'configs').rglob('[!_]*.py')):
    text = inspect.getdoc(configs.import_file(str(path))) or ''
    found += command_lines.lines_of_text(path.name, text)
  assert len(found) > 40
  check(found)


def test_command_lines_of_help() -> None:
  found = []
  for _, parsers in commands.make_parser().by_group():
    for name, parser in parsers.items():
      found += command_lines.lines_of_text(f'{name} --help', parser.description or '')
  assert {line.place for line in found} == {
    f'{name} --help' for name in commands.make_parser().verbs.choices
  }
  check(found)


def test_blocks_of_a_page_are_read_in_order(tmp_path, monkeypatch) -> None:
  """The end of a block of Python is not taken for the beginning of one without a language."""
  monkeypatch.setattr(command_lines, 'REPOSITORY', tmp_path)
  page = tmp_path / 'page.md'
  page.write_text(
    'Write\n\n```python title="mine.py"\nx = 1\n```\n\n```diff\n-python -m cifar_jax no\n```\n\n'
    '```bash\npython -m cifar_jax data\npip install it\n```\n\n'
    '```\npython launch.py --help\nprints\n```\n'
  )
  assert command_lines.lines_of_page(page) == [
    Line('page.md:11', 'python -m cifar_jax data'),
    Line('page.md:11', 'pip install it'),
    Line('page.md:16', 'python launch.py --help'),
  ]
  assert command_lines.files_of_page(page) == {'mine.py': 'x = 1\n'}


@pytest.mark.parametrize(
  'line',
  [
    'python -m cifar_jax evalute runs/lr',
    'python -m cifar_jax evaluate runs/lr --chekpoint=best',
    'python -m cifar_jax summary --config=configs/cnn_avd.py',
    'python launch.py --config=configs/cnn_adv.py --config.epoch=3',
    'python launch.py --config=configs/cnn_adv.py --config.epochs=three',
    'python launch.py --config=configs/cnn_adv.py --wrkdir=x',
    'python -m benchmarks troughput',
    'rm -rf /',
  ],
)
def test_a_wrong_line_is_found(line, capsys) -> None:
  with pytest.raises(AssertionError):
    check([Line('here', line)])
