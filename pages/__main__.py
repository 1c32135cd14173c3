"""Writes the Markdown of the site to build/docs; see the package."""

import pathlib
import posixpath
import shutil

from pages import benchmarks, commands, configs, repository, runs
from pages.repository import PAGES, ROOT

OUT = ROOT / 'build' / 'docs'


def main() -> None:
  """Writes all pages anew."""
  shutil.rmtree(OUT, ignore_errors=True)
  shutil.copytree(ROOT / 'docs', OUT)
  for path, text in all_pages().items():
    write(path, text)


def all_pages() -> dict[str, str]:
  """The text of each page by its path on the site: those of docs/, those at home elsewhere in the
  repository, the generated ones, and those with the source of a file that one of these links to.
  """
  docs = ROOT / 'docs'
  found = {path.relative_to(docs).as_posix(): read(path) for path in docs.rglob('*.md')}
  found |= {page: read(ROOT / name) for name, page in PAGES.items() if page not in found}
  found |= {**configs.pages(), **commands.pages(), **runs.pages(), **benchmarks.pages()}
  linked = {
    target for path, text in found.items() for target in repository.links(home_of(path), text)
  }
  made = {path: repository.with_links(path, home_of(path), text) for path, text in found.items()}
  for target in sorted(linked - set(PAGES)):
    made[repository.page_of(target)] = repository.source_page(target, read(ROOT / target))
  return made


def home_of(page: str) -> str:
  """The folder, seen from the repository, that the links of a page start from."""
  elsewhere = {on_site: name for name, on_site in PAGES.items()}
  inside = (ROOT / 'docs' / page).exists() or page not in elsewhere
  return posixpath.dirname(f'docs/{page}' if inside else elsewhere[page])


def read(path: pathlib.Path) -> str:
  """The text of a file."""
  return path.read_text('utf-8')


def write(path: str, text: str) -> None:
  """Writes a page."""
  file = OUT / path
  file.parent.mkdir(parents=True, exist_ok=True)
  file.write_text(text, 'utf-8')


if __name__ == '__main__':
  main()
