"""pip finds wheels of everything for the newest Python, on each system, whatever is used here."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

NEWEST = '3.14'
PLATFORMS = {
  'linux': (
    *(f'manylinux_2_{minor}_x86_64' for minor in range(31, 4, -1)),
    *('manylinux2014_x86_64', 'manylinux2010_x86_64', 'manylinux1_x86_64'),
  ),
  'windows': ('win_amd64',),
  'macos': (
    *(
      f'macosx_{major}_0_{kind}'
      for major in (15, 14, 13, 12, 11)
      for kind in ('arm64', 'universal2')
    ),
    *(f'macosx_10_{minor}_universal2' for minor in (15, 13, 12, 10, 9)),
  ),
}
# What markers ask for, which pip answers for the system that it runs on.
MARKERS = {
  'linux': ('posix', 'linux', 'Linux', 'x86_64'),
  'windows': ('nt', 'win32', 'Windows', 'AMD64'),
  'macos': ('posix', 'darwin', 'Darwin', 'arm64'),
}
PIP = """
import json, sys
from pip._vendor.packaging import markers
own = markers.default_environment()
markers.default_environment = lambda: {**own, **json.loads(sys.argv[1])}
from pip._internal.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
EVERYWHERE = 'dev,transfer,tfds'
NO_WHEEL = ('promise',)  # of TFDS, in Python alone, which comes as source


def pip(*arguments: str, system: str = '') -> str:
  """Runs pip as on a system, with the newest Python; what it says on stderr if it fails."""
  names = ('os_name', 'sys_platform', 'platform_system', 'platform_machine')
  markers = dict(zip(names, MARKERS[system], strict=True)) if system else {}
  if system:
    markers |= {'python_version': NEWEST, 'python_full_version': f'{NEWEST}.0'}
  command = [sys.executable, '-c', PIP, json.dumps(markers), '--quiet', *arguments]
  done = subprocess.run(command, capture_output=True, text=True)
  return done.stderr if done.returncode else ''


@pytest.fixture(scope='module')
def wheels(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A folder with the wheels that nobody offers."""
  folder = tmp_path_factory.mktemp('wheels')
  if said := pip('wheel', '--no-deps', f'--wheel-dir={folder}', *NO_WHEEL):
    pytest.skip(f'needs a package registry: {said[-200:]}')
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(
  ('system', 'extras'),
  [
    *((system, EVERYWHERE) for system in PLATFORMS),
    ('linux', 'cuda12'),
    ('linux', 'cuda13'),
    ('linux', 'tpu'),
  ],
)
def test_resolves_on_the_newest_python(wheels, tmp_path, system, extras) -> None:
  report = tmp_path / 'report.json'
  said = pip(
    *('install', '--dry-run', '--ignore-installed', '--only-binary=:all:'),
    *(f'--target={tmp_path / "target"}', f'--python-version={NEWEST}', f'--report={report}'),
    *(f'--platform={platform}' for platform in PLATFORMS[system]),
    *(f'--find-links={wheels}', f'{REPOSITORY}[{extras}]'),
    system=system,
  )
  assert not said, said[-2000:]
  packages = {
    entry['metadata']['name'].lower().replace('_', '-')
    for entry in json.loads(report.read_text('utf-8'))['install']
  }
  assert {'jax', 'jaxlib', 'flax', 'tensorboard', 'tensorflow-datasets'} <= packages
  assert {'tensorflow', 'tensorflow-cpu'} & packages == (
    {'tensorflow'} if 'tfds' in extras else set()
  )
