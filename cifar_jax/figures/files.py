"""Figures and pages as files: PNG, SVG, and HTML that needs nothing beside itself."""

import io
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from cifar_jax.figures.charts import INK, style
from cifar_jax.utils.files import disk_errors
from cifar_jax.utils.optional_deps import require


def save_figure(figure: Any, folder: pathlib.Path, name: str) -> str:
  """Writes NAME.svg and NAME.png, and returns the SVG to be put into a page.

  The files have a white background; the returned SVG has none, and takes the text color of its
  surroundings.
  """
  buffer = io.StringIO()
  with disk_errors(folder), style():
    figure.savefig(buffer, format='svg', metadata={'Date': None})
    text = buffer.getvalue()
    (folder / f'{name}.svg').write_text(text, 'utf-8', 'replace')
    figure.savefig(folder / f'{name}.png', dpi=150, facecolor='white')
  return inline_svg(text)


def inline_svg(text: str) -> str:
  """An SVG file's content for the middle of a page: transparent, its ink the page's text color."""
  text = text[text.index('<svg') :]
  text = re.sub(r'<g id="patch_1">.*?</g>', '', text, count=1, flags=re.DOTALL)  # the background
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  text = re.sub(
    r'(<svg[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"',
    r'\1 style="max-width:\2pt"',
    text,
    count=1,
  )
  text = re.sub(r' id="[A-Za-z._]+_\d+"', '', text)  # the same in every figure
  return text.replace(INK, 'currentColor')


def render(template: str, content: Mapping[str, Any]) -> str:
  """Fills a template of this room, which escapes what is put into it, but for drawings."""
  (jinja2,) = require('report', 'jinja2')
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('cifar_jax.figures', 'templates'),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  return environment.get_template(template).render(content)


def write_page(path: pathlib.Path, template: str, content: Mapping[str, Any]) -> None:
  """Writes the page that `render` makes of a template; raises UserError if that cannot be done."""
  text = render(template, content)
  with disk_errors(path.parent):
    path.write_text(text, 'utf-8', 'replace')
