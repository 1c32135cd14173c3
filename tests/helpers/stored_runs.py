"""Runs of old code that are stored in tests/fixtures/runs, and what that code said of them.

Run as a program, it stores a run of each config in tests/fixtures/runs/config.py, made by the code
that Python finds:

  PYTHONPATH=. python -P tests/helpers/stored_runs.py NAME            # by the code of today
  PYTHONPATH=OTHER python -P tests/helpers/stored_runs.py NAME        # by another checkout

NAME.zip has the folders CONFIG/interrupted and CONFIG/finished as launch.py left them, one stopped
by SIGTERM in the middle of its third epoch and one never; NAME.json is what the same code says of
the finished ones. tests/test_old_runs.py goes on with them by the code of its day.

Stored are d11b29e and 2a66734, by the commits of these names, from before runs had a format number.
One more is due whenever that number grows: made before it does, by the last commit of the old
format and under its name. None is ever made again, since only old code writes what old code wrote.

All of it runs on one CPU device, without oneDNN and added XLA flags, and with relative paths in a
folder of its own. Orbax alone notes where that was: choose it by TMPDIR.
"""

import hashlib
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

FOLDER = pathlib.Path(__file__).absolute().parents[1] / 'fixtures' / 'runs'
DATA = FOLDER / 'tiny.npz'
# Config -> the checkpoint in its third epoch after which the signal comes, and its epoch's steps.
CONFIGS = {'sam': (14, 6), 'adam': (12, 5)}
_ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'CIFAR_JAX_ONEDNN': 'off',
  'CIFAR_JAX_XLA_FLAGS': 'off',
}
# launch.py by its name alone, which summary.json keeps, wherever the code is.
_LAUNCH = """
import importlib.util, sys
sys.argv[0] = 'launch.py'
exec(compile(importlib.util.find_spec('launch').loader.get_source('launch'), 'launch.py', 'exec'))
"""


def environment() -> dict[str, Any]:
  """What the last bits of results depend on."""
  kind = platform.machine()
  info = pathlib.Path('/proc/cpuinfo')
  if info.exists():
    lines = info.read_text().partition('\n\n')[0].splitlines()
    fields = {line.partition(':')[0].strip(): line.partition(':')[2] for line in lines}
    kind += ''.join(fields.get(key, '') for key in ('cpu family', 'model', 'stepping', 'flags'))
  return {
    'jax': jax.__version__,
    'processor': hashlib.sha256(kind.encode()).hexdigest()[:16],
    'processors': os.cpu_count(),
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }


def variables_of(run: pathlib.Path) -> dict[str, Any]:
  """The trained variables, 'params' and 'batch_stats', in a run's latest checkpoint, and 'slow',
  their average.
  """
  from cifar_jax.run_dir.checkpoint import Checkpoints

  with Checkpoints(run, read_only=True) as checkpoints:
    trained, average = (checkpoints.restore_variables('latest', averaged=a) for a in (False, True))
  assert trained is not None
  assert average is not None
  return {**trained[0], 'slow': average[0]}


def digests(variables: Mapping[str, Any]) -> dict[str, str]:
  """SHA-256 of the bytes of each tree's leaves, in the order of their paths."""
  found = {}
  for name, tree in variables.items():
    leaves = {
      jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    content = b''.join(leaves[path].tobytes() for path in sorted(leaves))
    found[name] = hashlib.sha256(content).hexdigest()
  return found


def write_pictures(folder: pathlib.Path) -> list[str]:
  """The first three test images as PNG files in a folder; their names."""
  from PIL import Image

  names = [f'{index}.png' for index in range(3)]
  for name, image in zip(names, np.load(DATA)['x_test'], strict=False):
    Image.fromarray(image).save(folder / name)
  return names


def resume(folder: pathlib.Path, name: str, run: str) -> None:
  """Goes on with `folder`/`name`/`run` in a process like that which made it."""
  for file in ('config.py', 'tiny.npz'):
    shutil.copy(FOLDER / file, folder / file)
  _output(_train(folder, name, run))


def _python(folder: pathlib.Path, *arguments: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-P', *arguments],
    cwd=folder,
    env={**os.environ, **_ENVIRONMENT},
    stdout=subprocess.PIPE,
    text=True,
  )


def _output(process: subprocess.Popen) -> str:
  output = process.communicate()[0]
  if process.returncode:
    raise RuntimeError(f'exit status {process.returncode}: {output}')
  return output


def _train(folder: pathlib.Path, name: str, run: str) -> subprocess.Popen:
  arguments = (f'--config=config.py:{name}', f'--workdir={name}/{run}', '--progress=lines')
  return _python(folder, '-c', _LAUNCH, *arguments)


def _interrupt(folder: pathlib.Path, name: str) -> int:
  """Trains until the middle of the third epoch; returns the step of the checkpoint."""
  run, (after, per_epoch) = folder / name / 'interrupted', CONFIGS[name]
  for _ in range(20):
    process = _train(folder, name, 'interrupted')
    while process.poll() is None and not (run / 'checkpoints' / str(after)).is_dir():
      time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _output(process)
    step = max(int(path.name) for path in (run / 'checkpoints').iterdir())
    if step // per_epoch == after // per_epoch and step % per_epoch:
      return step
    shutil.rmtree(run)  # it got further than that
  raise RuntimeError(f'{name} could not be interrupted in the middle of an epoch')


def _make(folder: pathlib.Path, name: str) -> dict[str, Any]:
  """Trains both runs of a config; returns what is to be expected of them."""
  _output(_train(folder, name, 'finished'))
  step = _interrupt(folder, name)
  shutil.copytree(folder / name / 'interrupted', folder / name / 'resumed')
  resume(folder, name, 'resumed')
  finished, resumed = (digests(variables_of(folder / name / r)) for r in ('finished', 'resumed'))
  if finished != resumed:
    raise RuntimeError(f'{name}, interrupted after step {step}, was resumed to other bits')
  shutil.rmtree(folder / name / 'resumed')
  command = ('-m', 'cifar_jax')
  evaluated = {
    split: json.loads(
      _output(_python(folder, *command, 'evaluate', f'{name}/finished', '--split', split, '--json'))
    )
    for split in ('validation', 'test')
  }
  pictures = write_pictures(folder)
  options = ('--top=4', '--format=json')
  lines = _output(_python(folder, *command, 'predict', f'{name}/finished', *pictures, *options))
  return {
    'interrupted_after': step,
    'digests': finished,
    'evaluate': evaluated,
    'predict': [json.loads(line) for line in lines.splitlines()],
  }


def _store(name: str) -> None:
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    for file in ('config.py', 'tiny.npz'):
      shutil.copy(FOLDER / file, folder / file)
    expected = {config: _make(folder, config) for config in CONFIGS}
    (folder / 'stored').mkdir()
    for config in CONFIGS:
      (folder / config).rename(folder / 'stored' / config)
    shutil.make_archive(str(FOLDER / name), 'zip', folder / 'stored')
  content = {'environment': environment(), 'runs': expected}
  (FOLDER / f'{name}.json').write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
  os.environ.update(_ENVIRONMENT)
  _store(sys.argv[1])
