"""The command lines of each page, run one after the other as a reader would, on a few images
and for a few updates.
"""

import os
import pathlib
import posixpath
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cifar_jax import config as configs
from tests.helpers import REPOSITORY, command_lines, picture_files

pytestmark = pytest.mark.slow

# Lines of ours that are not run, by what they hold, and why.
NOT_RUN = {
  r'--coordinator': 'waits for the other processes',
  r'--watch': 'goes on until it is ended',
  r'SLURM': 'no cluster is at hand',
  r'-m benchmarks': 'measures for minutes; tests/benchmarks has each verb',
  r'cifar_jax (dashboard(?!.*--html)|serve)': 'a server that does not end',
  r'cifar_jax (search|evolve|final)': 'trains for minutes; tests/search has them',
  r'cifar_jax data fetch': 'no network',
  r'cifar_jax data organize': 'a folder of the reader; tests/data/image_folder has it',
  r'configs/multi_label': 'a table of the reader; tests/trainer/test_multi_label.py trains it',
  r'cifar_jax (export|import)': 'optional packages and files of theirs',
  r'--data\.|--labels|evaluate zoo:': 'data that are not at hand',
  r'cifar_jax push|hub:': 'no network',
  r'cifar_jax predict .*https?:': 'no network',
  r'cifar_jax doctor': 'tests/commands/test_doctor.py runs it, for minutes where others compute',
  r'densenet': 'compiles for minutes where others compute; tests/models has it',
  r'efficientnet|vgg16_bottleneck|pretrained': 'weights that pip or Keras brings',
  r'config\.data\.name=(?!folder|synthetic|cifar10\b)': 'data that are not at hand',
  r'\s-\s*$|<': 'reads what the reader types',
}
TINY = ('--config.batch_size=8', '--config.max_steps=2', '--config.tensorboard=False')
PAGES = [
  path
  for path in command_lines.pages()
  if any(
    command_lines.reason_to_skip(line.text) is None for line in command_lines.lines_of_page(path)
  )
]


@pytest.fixture
def home(tmp_path) -> pathlib.Path:
  """A folder like a clone, with a few images in the place of CIFAR-10."""
  shutil.copytree(REPOSITORY / 'configs', tmp_path / 'configs')
  shutil.copyfile(REPOSITORY / 'launch.py', tmp_path / 'launch.py')
  generator = np.random.default_rng(0)
  arrays = {}
  for part, count in (('train', 40), ('test', 20)):
    arrays[f'x_{part}'] = generator.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    arrays[f'y_{part}'] = np.arange(count) % 10
  np.savez(tmp_path / 'tiny.npz', **arrays)
  return tmp_path


def run(home: pathlib.Path, *words: str) -> None:
  environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY), 'JAX_PLATFORMS': 'cpu'}
  ended = subprocess.run(
    [sys.executable, *words], cwd=home, env=environment, capture_output=True, text=True, timeout=900
  )
  assert ended.returncode == 0, f'{shlex.join(words)}\n{ended.stdout[-1500:]}{ended.stderr[-3000:]}'


def prepared(home: pathlib.Path, words: list[str]) -> list[str]:
  """The words of a line with what makes it short; makes the runs, images and folders that it names
  and that are not there.
  """
  verb = words[2] if words[0] == '-m' else 'launch.py'
  text = shlex.join(words)
  folder = re.search(r'--config\.data\.dir=(\S+)', text)
  if folder and not folder[1].endswith('.npz') and not (home / folder[1]).exists():
    counts = {f'{part}/{kind}': 8 for part in ('train', 'validation') for kind in ('cats', 'dogs')}
    picture_files.write_tree(home / folder[1], counts)
  if '*' in text:
    (pattern,) = (word for word in words if '*' in word)
    picture_files.write_tree(home, {posixpath.dirname(pattern): 3}, pattern[pattern.index('.') :])
    place = words.index(pattern)
    names = sorted(path.relative_to(home).as_posix() for path in home.glob(pattern))
    words = [*words[:place], *names, *words[place + 1 :]]
  for word in words:
    path = home / word
    if re.fullmatch(r'[\w./-]+\.(jpg|jpeg|png)', word) and not path.exists():
      path.parent.mkdir(parents=True, exist_ok=True)
      picture_files.picture(0).save(path)
    if re.fullmatch(r'[\w./-]+/', word) and not path.exists():
      picture_files.write_tree(path, {'.': 3})
    if re.fullmatch(r'runs/[\w./-]+', word) and not path.exists():
      name = path.name if (home / f'configs/{path.name}.py').exists() else 'cnn_simple'
      run(home, *prepared(home, ['launch.py', f'--config=configs/{name}.py', f'--workdir={word}']))
  data = [] if folder or 'data.name=' in text else [f'--config.data.dir={home / "tiny.npz"}']
  if 'catsdogs' in text or verb not in ('launch.py', 'repeat', 'lr_range', 'data'):
    data = []
  if verb in ('launch.py', 'repeat'):
    overrides = [word for word in words if word.startswith('--config.')]
    file = next(word for word in words if word.startswith('--config=')).partition('=')[2]
    held_out = str(configs.load(str(home / file), overrides).data.validation)
    few = ['--config.data.validation=8'] if held_out.isdigit() else []
    return [*words, *TINY, *data, *few]
  return [*words, *data, *(['--steps=30', '--config.batch_size=8'] if verb == 'lr_range' else [])]


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_command_lines_of_a_page_run(home, path) -> None:
  for name, text in command_lines.files_of_page(path).items():
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(text, 'utf-8')
  done, trained = set(), set()
  for line in command_lines.lines_of_page(path):
    if command_lines.reason_to_skip(line.text) or line.text in done:
      continue
    if any(re.search(words, line.text) for words in NOT_RUN):
      continue
    done.add(line.text)
    words = shlex.split(line.text, comments=True)[1:]
    if words[0] == 'launch.py' and '--workdir' not in line.text:
      # Lines that stand below each other as alternatives would be refused the folder of the first.
      config = re.search(r'--config[= ](\S+)', line.text)
      name = pathlib.Path(config[1]).stem if config else ''
      words += [f'--workdir=runs/{name}_{len(done)}'] if name in trained else []
      trained.add(name)
    run(home, *prepared(home, words))
