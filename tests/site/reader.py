"""A reader who types the command lines of a page, on a few images and for a few updates."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

from cifar_jax import config as configs
from tests.helpers import REPOSITORY, command_lines, picture_files
from tests.helpers.hub_server import Hub, serving
from tests.site import at_hand

SECONDS = 900  # that a line may take
TINY = ('--config.batch_size=8', '--config.max_steps=2', '--config.tensorboard=False')
_HUB = re.compile(r'hub:([\w-]+/([\w-]+))')
# What is exported to get a file that `import` reads: how, and its name there.
_EXPORTED = {'.pth': ('torch', 'model.pth'), '.h5': ('keras-h5', 'model.h5')}
# How the file and name of a config or a space stand in a line.
_CONFIG = re.compile(r'(?:--config[= ]|cifar_jax search )(\S*?(\w+)\.py)')


@dataclasses.dataclass
class Reader:
  """Runs lines in a folder, each in a process of its own, and makes first what they name.

  Attributes:
    home: The folder, a clone.
    written: What is where the lines write by default: the folder, and the line without epochs,
      since the same line goes on there and another one would be refused.
  """

  home: pathlib.Path
  written: dict[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    at_hand.make_clone(self.home)
    self._environment = {
      **os.environ,
      'PYTHONPATH': str(REPOSITORY),
      'PYTHONUNBUFFERED': '1',
      'JAX_PLATFORMS': 'cpu',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',  # of programs that run twice
      'CIFAR_JAX_DATA': str(self.home / 'data'),
    }

  def follow(self, line: str) -> None:
    """Runs a line of a page.

    Raises:
      AssertionError: It fails.
    """
    words = shlex.split(re.sub(r'(?<=[=:])/shared/', 'shared/', line), comments=True)
    variables = {}
    while re.fullmatch(command_lines.VARIABLES, f'{words[0]} '):
      name, _, variables[name] = words.pop(0).partition('=')
    words = [*words[1:], *self._elsewhere(line)]
    with self._hub_of(line) as of_hub:
      self.run(words, {**variables, **of_hub})

  def run(self, words: list[str], variables: dict[str, str] | None = None) -> None:
    """Runs the words after `python`."""
    environment = {**self._environment, **(variables or {})}
    words = self._short(self._with_files(words))
    if is_endless(words):
      self._look_in(words, environment)
      return
    ended = subprocess.run(
      [sys.executable, *words],
      cwd=self.home,
      env=environment,
      capture_output=True,
      text=True,
      timeout=SECONDS,
    )
    last = f'{ended.stdout[-1500:]}{ended.stderr[-3000:]}'
    assert ended.returncode == 0, f'{shlex.join(words)}\n{last}'

  def _look_in(self, words: list[str], environment: dict[str, str]) -> None:
    """Runs what goes on until Ctrl-C, until it has said something or shown its page."""
    words = words if 'compare' in words else [*words, '--port=0']
    process = subprocess.Popen(
      [sys.executable, *words],
      cwd=self.home,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    deadline = threading.Timer(SECONDS, process.kill)
    deadline.start()
    said = ''
    try:
      for line in process.stdout or ():
        said += line
        if 'compare' in words:
          break
        if address := re.match(r'serving .* at (http://\S+) until Ctrl-C', line):
          with urllib.request.urlopen(address[1], timeout=60) as answer:
            assert '<title>' in answer.read().decode()
          break
      process.send_signal(signal.SIGINT)
      said += process.communicate()[0]
    finally:
      deadline.cancel()
      process.kill()
    # `compare` has nothing to end: 128 + SIGINT.
    expected = 128 + signal.SIGINT if 'compare' in words else 0
    assert process.returncode == expected, f'{shlex.join(words)}\n{said[-3000:]}'

  def _elsewhere(self, line: str) -> list[str]:
    """Where to write, if another line of the page has written where this one would."""
    config = _CONFIG.search(line)
    verb = re.search(r'launch\.py|search|evolve', line)
    if not config or not verb or '--workdir' in line or '--folder' in line:
      return []
    line = re.sub(r' --config\.epochs=\S+', '', line)
    usual = f'runs/{config[2]}'
    option, end = ('workdir', '') if verb[0] == 'launch.py' else ('folder', '_study')
    place = usual + end
    if self.written.setdefault(place, line) == line:
      return []
    place = f'{usual}_{len(self.written)}{end}'
    self.written[place] = line
    return [f'--{option}={place}']

  def _with_files(self, words: list[str]) -> list[str]:
    """Makes the images, data and runs that a line names and that are not there; returns its words
    with the names of images for a pattern.
    """
    text = shlex.join(words)
    if 'dashboard' in words and not (self.home / 'runs').is_dir():
      self._make_run('runs/cnn_adv')
    for place, word in enumerate(words):
      option = re.fullmatch(r'--(?:config\.)?data\.dir=(\S+)', word)
      path = self.home / (option[1] if option else word)
      if '*' in word:
        found = at_hand.make_images(self.home, word)
        return self._with_files([*words[:place], *found, *words[place + 1 :]])
      if path.exists():
        continue
      if option:
        at_hand.make_data(path, 'multi_label' in text)
      elif word == 'FLAT':
        at_hand.make_flat(path)
      elif re.fullmatch(r'[\w./-]+\.(jpg|jpeg|png)', word):
        picture_files.picture(0).save(path)
      elif re.fullmatch(r'[\w./-]+/', word):
        at_hand.make_tree(path)
      elif re.fullmatch(r'runs/[\w./-]+', word):
        self._make_run(word)
      elif 'import' in words and path.suffix in _EXPORTED:
        self._make_weights(path)
    return words

  def _make_run(self, name: str) -> None:
    """Makes a run or a study of the config that its name tells."""
    if name.endswith('_study'):
      space = pathlib.Path(name).name.removesuffix('_study')
      self.run(['-m', 'cifar_jax', 'search', f'configs/spaces/{space}.py', f'--folder={name}'])
      return
    config = pathlib.Path(name).name
    config = config if (self.home / f'configs/{config}.py').exists() else 'cnn_simple'
    self.run(['launch.py', f'--config=configs/{config}.py', f'--workdir={name}'])

  def _make_weights(self, path: pathlib.Path) -> None:
    """Makes a file of Keras or PyTorch with the weights of cnn_adv."""
    target, file = _EXPORTED[path.suffix]
    out = f'{path.stem}-of-{target}'
    self.run(['-m', 'cifar_jax', 'export', 'runs/cnn_adv', f'--to={target}', f'--out={out}'])
    shutil.copyfile(self.home / out / file, path)

  @contextlib.contextmanager
  def _hub_of(self, line: str) -> Iterator[dict[str, str]]:
    """Serves the model folders that a line names, and gives the variables that tell of it."""
    found = _HUB.search(line)
    if not found:
      yield {}
      return
    out = f'{found[2]}-of-hub'
    run = f'runs/{found[2]}'
    self.run(['-m', 'cifar_jax', 'export', run, '--to=safetensors', f'--out={out}'])
    files = {path.name: path.read_bytes() for path in (self.home / out).iterdir()}
    with serving(Hub({found[1]: files})) as hub:
      yield {'HF_ENDPOINT': hub.url, 'HF_HOME': str(self.home / 'hugging_face')}

  def _short(self, words: list[str]) -> list[str]:
    """The words with what makes it a matter of seconds."""
    verb = words[2] if words[0] == '-m' else 'launch.py'
    if verb == 'lr_range':
      return [*words, '--steps=30', '--config.batch_size=8']
    if verb == 'final':
      return [*words, '--seeds=2', *TINY]
    if verb == 'search':
      return [*words, '--trials=2', *TINY, '--config.data.validation=8']
    if verb not in ('launch.py', 'repeat', 'evolve'):
      return words
    overrides = [word for word in words if word.startswith('--config.')]
    file = next(word for word in words if word.startswith('--config=')).partition('=')[2]
    held_out = str(configs.load(str(self.home / file), overrides).data.validation)
    few = ['--config.data.validation=8'] if held_out.isdigit() else []
    whole = ['--trials=2', f'--config.data.dir={at_hand.FEW}'] if verb == 'evolve' else []
    return [*words, *whole, *TINY, *few]


def is_endless(words: list[str]) -> bool:
  """Whether a line goes on until Ctrl-C."""
  return words[2:3] in (['serve'], ['dashboard']) or any(
    word.startswith('--watch') for word in words
  )
