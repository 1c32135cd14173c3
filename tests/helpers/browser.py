"""Pages in headless Chromium."""

import html
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

_BROWSER = next(
  (
    path
    for name in ('chromium', 'chromium-browser', 'google-chrome')
    if (path := shutil.which(name))
  ),
  None,
)
needs_browser = pytest.mark.skipif(_BROWSER is None, reason='there is no Chromium')

# The page in a frame of the wanted width, since a window cannot be as narrow as a phone; what is to
# be known of it becomes the text of the outer page.
_FRAME = """<!doctype html><body><iframe width="{width}" height="800" srcdoc="{page}"></iframe>
<script>
document.querySelector('iframe').onload = event => {{
  const inner = event.target.contentDocument;
  inner.querySelectorAll('details').forEach(each => each.open = true);
  const images = [...inner.images];
  document.body.textContent = 'FACTS' + JSON.stringify({{
    width: inner.documentElement.scrollWidth,
    pictures: images.length,
    missing: images.filter(image => !image.complete || !image.naturalWidth).length,
    ground: event.target.contentWindow.getComputedStyle(inner.body).backgroundColor,
  }}) + 'END';
}};
</script>"""


def chromium(*arguments: str) -> str:
  """Runs the browser without a window and returns what it prints."""
  assert _BROWSER
  with tempfile.TemporaryDirectory() as profile:
    process = subprocess.run(
      [
        _BROWSER,
        *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
        *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
        f'--user-data-dir={profile}',
        *arguments,
      ],
      capture_output=True,
      text=True,
      timeout=120,
      check=True,
    )
  return process.stdout


def page_facts(page: str, folder: pathlib.Path, width: int, dark: bool) -> dict:
  """Width of the content, number of pictures and of missing ones, background of a page."""
  frame = folder / 'frame.html'
  frame.write_text(_FRAME.format(width=width, page=html.escape(page)))
  scheme = [f'--blink-settings=preferredColorScheme={0 if dark else 1}']
  text = chromium('--dump-dom', '--virtual-time-budget=5000', *scheme, frame.as_uri())
  match = re.search(r'FACTS(.*)END', text)
  assert match, text[:1000]
  return json.loads(html.unescape(match[1]))
