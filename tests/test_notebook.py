"""The notebook, executed from top to bottom on CPU with the built-in pictures."""

import ast
import importlib
import json
import os
import pathlib
import re
import types

import pytest

NOTEBOOK = pathlib.Path(__file__).parent.parent / 'notebooks' / 'cifar_jax_colab.ipynb'
# Small enough for a test: few pictures matter less than that every cell runs.
PARAMETERS = """
OPTIONS = ['--config.model.widths=(4,)', '--config.model.head=("flatten",)',
           '--config.data.validation=4500', '--config.tensorboard=false',
           '--config.batch_size=100', '--config.checkpoint.every_steps=3']
RUNS = pathlib.Path({runs!r})
"""


def test_the_notebook_promises_nothing_it_cannot_keep() -> None:
  text = NOTEBOOK.read_text()
  for word in ('setup_tpu', 'colab_tpu', '8 cores', 'eight cores', '"outputs": [\n'):
    assert word not in text


def test_the_notebook_uses_what_there_is() -> None:
  """Each name that a cell imports from here, or takes from a module of ours, exists."""
  modules: dict[str, types.ModuleType] = {}
  cells = [c for c in json.loads(NOTEBOOK.read_text())['cells'] if c['cell_type'] == 'code']
  lines = [line for cell in cells for line in ''.join(cell['source']).split('\n')]
  tree = ast.parse('\n'.join('pass' if re.match('[%!]', line) else line for line in lines))
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and str(node.module).startswith('cifar_jax'):
      for alias in node.names:
        found = getattr(importlib.import_module(str(node.module)), alias.name, None)
        if found is None:
          found = importlib.import_module(f'{node.module}.{alias.name}')
        if isinstance(found, types.ModuleType):
          modules[alias.asname or alias.name] = found
  assert modules
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
      assert hasattr(modules[ast.unparse(node.value)], node.attr), ast.unparse(node)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch) -> None:
  nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
  pytest.importorskip('ipykernel')
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('CIFAR_JAX_NO_BROWSER', '1')
  monkeypatch.setenv('MPLBACKEND', 'agg')
  notebook = nbformat.read(NOTEBOOK, 4)
  places = [
    place
    for place, cell in enumerate(notebook.cells)
    if 'parameters' in cell.metadata.get('tags', ())
  ]
  assert len(places) == 1
  chosen = nbformat.v4.new_code_cell(PARAMETERS.format(runs=str(tmp_path)))
  notebook.cells.insert(places[0] + 1, chosen)
  client = nbclient.NotebookClient(
    notebook, timeout=400, resources={'metadata': {'path': str(NOTEBOOK.parent)}}
  )
  client.execute(env=dict(os.environ))
  printed = ''.join(
    output.get('text', '') for cell in notebook.cells for output in cell.get('outputs', ())
  )
  assert 'resuming after step' in printed
  assert 'test accuracy' in printed
  run = tmp_path / 'notebook_quickstart'
  assert (run / 'summary.json').is_file()
  assert len((run / 'metrics.csv').read_text().splitlines()) == 4  # a header and three epochs
