"""The notebook, executed from top to bottom on CPU with the built-in pictures."""

import ast
import builtins
import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types
import zipfile

import pytest

from tests.helpers import fake_machine

NOTEBOOK = pathlib.Path(__file__).parent.parent / 'notebooks' / 'cifar_jax_colab.ipynb'
# Small enough for a test: few pictures matter less than that every cell runs.
PARAMETERS = """
OPTIONS = ['--config.model.widths=(4,)', '--config.model.head=("flatten",)',
           '--config.data.validation=4500', '--config.tensorboard=false',
           '--config.batch_size=100', '--config.checkpoint.every_steps=3',
           '--config.epochs={epochs}']
RUNS = {runs!r}
from cifar_jax.startup import notebook
notebook.needs_installation = lambda *_: False  # whatever the tests run from
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


def test_one_cell_resumes_in_a_new_runtime() -> None:
  """It uses nothing that another cell defines."""
  cells = [c for c in json.loads(NOTEBOOK.read_text())['cells'] if c['cell_type'] == 'code']
  names = ast.walk(ast.parse(''.join(cells[0]['source'])))
  found = [node for node in names if isinstance(node, ast.Name)]
  made = {node.id for node in found if isinstance(node.ctx, ast.Store)}
  tree = ast.parse(''.join(cells[0]['source']))
  imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
  made |= {(alias.asname or alias.name) for node in imports for alias in node.names}
  used = {node.id for node in found if isinstance(node.ctx, ast.Load)}
  assert used - made - set(dir(builtins)) == set()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_the_notebook_runs_from_top_to_bottom_and_resumes(tmp_path, monkeypatch) -> None:
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('CIFAR_JAX_NO_BROWSER', '1')
  monkeypatch.setenv('MPLBACKEND', 'agg')
  run = tmp_path / 'notebook_quickstart'
  printed = _executed(PARAMETERS.format(runs=str(tmp_path), epochs=2))
  assert 'resuming after step' not in printed
  assert 'test accuracy' in printed
  assert len((run / 'metrics.csv').read_text().splitlines()) == 3  # a header and two epochs
  # A new runtime, as after a disconnect.
  printed = _executed(PARAMETERS.format(runs=str(tmp_path), epochs=3))
  assert 'resuming after step' in printed
  assert len((run / 'metrics.csv').read_text().splitlines()) == 4
  assert json.loads((run / 'summary.json').read_text())['epochs'] == 3
  assert (run / 'report' / 'index.html').is_file()


def _executed(parameters: str) -> str:
  """Executes the notebook in a process of its own, and returns all that it printed."""
  nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
  pytest.importorskip('ipykernel')
  notebook = nbformat.read(NOTEBOOK, 4)
  first = next(cell for cell in notebook.cells if cell.cell_type == 'code')
  settings, word, rest = first.source.partition('import os\n')
  first.source = f'{settings}{parameters}{word}{rest}'
  folder = {'metadata': {'path': str(NOTEBOOK.parent)}}
  nbclient.NotebookClient(notebook, timeout=400, resources=folder).execute(env=dict(os.environ))
  outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
  pictures = [output for output in outputs if 'image/png' in output.get('data', {})]
  assert len(pictures) == 3  # loss, accuracy, confusion
  return ''.join(output.get('text', '') for output in outputs)


# What Colab's GPU runtime has, as far as it matters: googlecolab/backend-info of 2026-08-19.
COLAB = ('jax==0.7.2', 'jaxlib==0.7.2', 'flax==0.11.2')
COLAB_PLUGIN = ('jax-cuda12-plugin==0.7.2', 'jax-cuda12-pjrt==0.7.2')
INSTALL = """
import json, sys
cells = json.load(open(sys.argv[1]))['cells']
train, *_ = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
exec(train.partition('if USE_DRIVE')[0])
"""


@pytest.mark.slow
def test_the_install_cell_leaves_no_old_plugin_on_colab(tmp_path) -> None:
  """It ends with a plugin of jaxlib's version; here also with the reason why it stops, since there
  is no GPU behind the nvidia-smi.
  """
  python = tmp_path / 'runtime' / 'bin' / 'python'
  subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'runtime'], check=True)
  pip = [python, '-m', 'pip', 'install', '-q']
  if subprocess.run([*pip, *COLAB], capture_output=True).returncode:
    pytest.skip('no package registry can be reached')
  subprocess.run([*pip, '--no-deps', *COLAB_PLUGIN], check=True)
  copy = tmp_path / 'cifar_jax'
  for name in ('cifar_jax', 'notebooks', 'launch.py', 'pyproject.toml', 'README.md', 'LICENSE'):
    source = NOTEBOOK.parents[1] / name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
  smi = fake_machine.nvidia_smi(tmp_path / 'bin', 'echo "GPU 0: Tesla T4 (UUID: GPU-0)"')
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
  environment |= {
    'PATH': f'{smi}{os.pathsep}{os.environ["PATH"]}',
    'PIP_FIND_LINKS': str(_empty_cuda_wheels(tmp_path / 'wheels')),
  }
  environment.pop('JAX_PLATFORMS', None)
  script = [python, '-c', INSTALL, copy / 'notebooks' / NOTEBOOK.name]
  done = subprocess.run(
    script, cwd=copy / 'notebooks', env=environment, capture_output=True, text=True
  )
  listed = subprocess.run([python, '-m', 'pip', 'list', '--format=json'], capture_output=True)
  versions = {entry['name']: entry['version'] for entry in json.loads(listed.stdout)}
  assert versions['jax'] != '0.7.2'
  assert versions['jax-cuda12-plugin'] == versions['jax-cuda12-pjrt'] == versions['jaxlib']
  assert done.returncode
  assert 'Tesla T4' in done.stderr.splitlines()[-1]
  assert 'driver' in done.stderr.splitlines()[-1]


def _empty_cuda_wheels(folder: pathlib.Path) -> pathlib.Path:
  """Wheels without content in the place of three gigabytes of NVIDIA's libraries."""
  folder.mkdir()
  libraries = ('cublas', 'cuda-cupti', 'cufft', 'cusolver', 'cusparse', 'nccl', 'nvjitlink')
  versions = {name: '99.0' for name in (*libraries, 'nvshmem')}
  versions |= {f'cuda-{name}': '12.99.0' for name in ('nvcc', 'runtime', 'nvrtc')}
  versions['cudnn'] = '9.999'
  for name, version in versions.items():
    package = f'nvidia-{name}-cu12'
    stem = f'{package.replace("-", "_")}-{version}'
    with zipfile.ZipFile(folder / f'{stem}-py3-none-any.whl', 'w') as wheel:
      head = f'Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n'
      tags = 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
      wheel.writestr(f'{stem}.dist-info/METADATA', head)
      wheel.writestr(f'{stem}.dist-info/WHEEL', tags)
      wheel.writestr(f'{stem}.dist-info/RECORD', '')
  return folder
