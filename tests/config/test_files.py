"""Config files by the paths that users write, on any system."""

import pathlib
import sys

import pytest

from cifar_jax import config as configs
from cifar_jax.config import files
from cifar_jax.utils.errors import UserError


@pytest.mark.parametrize(
  ('path', 'expected'),
  [
    ('configs/cnn_adv.py', ('configs/cnn_adv.py', '')),
    ('configs/own.py:small', ('configs/own.py', 'small')),
    ('own.py:a:b=0.5', ('own.py', 'a:b=0.5')),
    ('own.py:', ('own.py', '')),
    ('cnn_adv', ('cnn_adv', '')),
    (r'C:\configs\own.py', (r'C:\configs\own.py', '')),
    ('d:/configs/own.py', ('d:/configs/own.py', '')),
    (r'C:\configs\own.py:small', (r'C:\configs\own.py', 'small')),
    ('own.py:C:\\data', ('own.py', 'C:\\data')),
    ('c:small', ('c', 'small')),  # no drive: a path on it would have a slash
    ('', ('', '')),
  ],
)
def test_file_and_argument(path: str, expected: tuple[str, str]) -> None:
  assert files.split(path) == expected


@pytest.mark.parametrize('argument', ['', ':7', ':0.5', ':a/b'])
def test_runs_are_named_after_the_file(argument: str) -> None:
  assert configs.name_of(f'configs/cnn_adv.py{argument}') == 'cnn_adv'


def test_argument_reaches_the_config(tmp_path: pathlib.Path) -> None:
  file = tmp_path / 'own.py'
  file.write_text(
    'from configs import base\n\n\ndef get_config(epochs="3"):\n'
    '  config = base.get_config()\n  config.epochs = int(epochs)\n  return config\n',
    'utf-8',
  )
  assert configs.load(f'{file}:7').epochs == 7
  assert configs.load(str(file)).epochs == 3


def test_modules_in_the_current_folder_are_found(tmp_path, monkeypatch) -> None:
  """Where the program lies elsewhere, as `python ../clone/launch.py` does."""
  (tmp_path / 'own_epochs.py').write_text('EPOCHS = 7\n', 'utf-8')
  (tmp_path / 'own.py').write_text(
    'from configs import base\nfrom own_epochs import EPOCHS\n\n\ndef get_config():\n'
    '  config = base.get_config()\n  config.epochs = EPOCHS\n  return config\n',
    'utf-8',
  )
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr('sys.path', [path for path in sys.path if path])
  assert configs.load('own.py').epochs == 7


def test_path_with_a_drive(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  r"""Where backslashes are letters, C:\own.py is a file of the working directory."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('C:\\own.py').write_text('from configs.base import get_config\n', 'utf-8')
  assert files.find('C:\\own.py') == 'C:\\own.py'
  with pytest.raises(UserError, match=r'^--config=C:\\other\.py:x: there is no such file'):
    files.find('C:\\other.py:x')
