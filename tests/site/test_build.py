"""The site as MkDocs builds it, strictly, and as a browser shows it from the disk."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.webdriver import Driver, needs_driver

pytest.importorskip('mkdocs')
pytest.importorskip('mkdocstrings')
pytest.importorskip('material')
pytest.importorskip('matplotlib')
pytestmark = pytest.mark.slow

TRACKED = ('benchmarks', 'cifar_jax', 'configs', 'docs', 'pages', 'results', 'notebooks', 'tests')
FILES = (
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'README.md',
  'launch.py',
  'mkdocs.yml',
  'pyproject.toml',
)


def python(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
  path = os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])
  environment = {**os.environ, 'PYTHONPATH': path, 'NO_MKDOCS_2_WARNING': '1'}
  command = [sys.executable, *words]
  return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope='module')
def copy(tmp_path_factory) -> pathlib.Path:
  """A copy of the repository with the Markdown of the site."""
  folder = tmp_path_factory.mktemp('site') / 'clone'
  folder.mkdir()
  for name in TRACKED:
    shutil.copytree(
      REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', 'runs')
    )
  for name in FILES:
    shutil.copyfile(REPOSITORY / name, folder / name)
  made = python(folder, '-m', 'pages')
  assert made.returncode == 0, made.stderr
  return folder


@pytest.fixture(scope='module')
def site(copy) -> pathlib.Path:
  """The built site."""
  built = python(copy, '-m', 'mkdocs', 'build', '--strict')
  assert built.returncode == 0, built.stderr[-3000:]
  assert 'WARNING' not in built.stderr
  return copy / 'build' / 'site'


def test_nothing_comes_from_another_host(site) -> None:
  loads = re.compile(r'<(?:script|img|iframe|source)[^>]+src="(https?:)?//|<link[^>]+rel="(?:'
                     r'stylesheet|icon|preload|preconnect)"[^>]+href="(https?:)?//')  # fmt: skip
  pages = list(site.rglob('*.html'))
  assert len(pages) > 80
  assert [page.name for page in pages if loads.search(page.read_text('utf-8'))] == []
  styles = ''.join(path.read_text('utf-8') for path in site.rglob('*.css'))
  assert not re.search(r'url\(["\']?(https?:)?//|@import', styles)


def test_a_broken_link_ends_the_build(copy, site) -> None:
  page = copy / 'build' / 'docs' / 'files.md'
  text = page.read_text('utf-8')
  for link in ('nowhere.md', 'options.md#no_such_heading', '../configs/nowhere.py'):
    page.write_text(f'{text}\n[it]({link})\n', 'utf-8')
    built = python(copy, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(copy / 'broken'))
    assert built.returncode != 0, link
    assert link in built.stderr
  page.write_text(text, 'utf-8')


@needs_driver
@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('dark', [False, True])
def test_pages_fit_and_are_found(site, width, dark) -> None:
  with Driver(width, dark, mouse=True) if width > 500 else Driver(width, dark) as browser:
    for name in ('index', 'configs/cnn_adv', 'options', 'benchmarks', 'commands', 'api/models'):
      browser.open(f'file://{site}/{name}.html')
      browser.wait('document.readyState === "complete"')
      assert browser.run('document.documentElement.scrollWidth') <= width, name
      scheme = browser.run('document.body.getAttribute("data-md-color-scheme")')
      assert scheme == ('slate' if dark else 'default')
      pictures = '[...document.images].filter(each => !each.complete || !each.naturalWidth).length'
      assert browser.run(pictures) == 0, name
    for words, page in (
      ('learning rate', 'options.html'),
      ('resume', 'tutorials/resume.html'),
      ('cnn_adv', 'configs/cnn_adv.html'),
    ):
      browser.open(f'file://{site}/index.html?q={words}')
      found = browser.wait(
        '(links => links.length ? links : null)'
        '([...document.querySelectorAll(".md-search-result__link")].map(each => each.href))'
      )
      assert any(page in link for link in found), (words, found[:8])
