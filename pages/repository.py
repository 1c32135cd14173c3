"""Links from a page to files of the repository that are outside of docs/, and pages of those files.

A link in docs/ is written as it works in the repository, `../cifar_jax/models/conv_net.py#L12`; on
the site it leads to the page with that source, and to the line.
"""

import pathlib
import posixpath
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
# Files that are pages of their own on the site.
PAGES = {
  'README.md': 'index.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
}
_LINK = re.compile(r'(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))|(?<=src=")([^"#:]+)(?=")')
_LANGUAGES = {
  '.py': 'python', '.toml': 'toml', '.yml': 'yaml', '.sh': 'bash', '.csv': 'text', '.txt': 'text',
  '.md': 'markdown', '.ipynb': 'json', '.cff': 'yaml',
}  # fmt: skip


def links(home: str, text: str) -> Iterator[str]:
  """The files outside of docs/ that a page links to, as paths in the repository.

  Args:
    home: The folder, seen from the repository, that the page's links start from.
  """
  for match in _LINK.finditer(text):
    if target := _outside(home, match[1] or match[3]):
      yield target


def with_links(here: str, home: str, text: str) -> str:
  """A page's text whose links to such files lead to their pages on the site.

  Args:
    here: The page, as a path in docs/.
    home: As of `links`.
  """

  def change(match: re.Match[str]) -> str:
    path, place = match[1] or match[3], match[2] or ''
    target = _outside(home, path)
    inside = posixpath.normpath(posixpath.join(home, path))
    if target is None:
      # Of the changelog, say, which is at home in another folder than its page.
      if not inside.startswith('docs/') or home == posixpath.dirname(f'docs/{here}'):
        return match[0]
      target_page = inside.removeprefix('docs/')
    else:
      target_page = page_of(target)
      place = re.sub(r'#L(\d+).*', r'#__codelineno-0-\1', place)
    return posixpath.relpath(target_page, posixpath.dirname(here) or '.') + place

  return _LINK.sub(change, text)


def page_of(target: str) -> str:
  """The page that shows a file of the repository."""
  return PAGES.get(target, f'source/{target}.md')


def source_page(target: str, text: str) -> str:
  """A page with a file's text and the numbers of its lines, which the search leaves out."""
  language = _LANGUAGES.get(pathlib.Path(target).suffix, 'text')
  fence = '`' * max(3, 1 + max((len(run) for run in re.findall('`+', text)), default=0))
  return (
    f'---\ntitle: {target}\nsearch:\n  exclude: true\n---\n\n# `{target}`\n\n'
    f'{fence}{{.{language} linenums="1"}}\n{text.rstrip()}\n{fence}\n'
  )


def _outside(home: str, path: str) -> str | None:
  target = posixpath.normpath(posixpath.join(home, path))
  if target.startswith(('docs/', '../')) or not (ROOT / target).exists():
    return None
  if (ROOT / target).is_dir():
    readme = f'{target}/README.md'
    return readme if (ROOT / readme).exists() else None
  return target
