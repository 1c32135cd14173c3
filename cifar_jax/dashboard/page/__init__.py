"""The files of the page: a template without content, its style and its scripts, which draw what
`watch.Watch.changes` tells.

uPlot (uPlot.LICENSE) draws the curves; its files are those of its release 1.6.32, see uPlot.sha256.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

STYLES = ('uPlot.min.css', 'dashboard.css')
# In the order in which the page loads them: each uses names of those before it.
SCRIPTS = (
  *('uPlot.iife.min.js', 'model.js', 'elements.js', 'plot.js', 'table.js', 'detail.js'),
  *('studies.js', 'main.js'),
)
FILES = ('dashboard.html', *STYLES, *SCRIPTS)


def read(name: str) -> str:
  """The text of one of `FILES`."""
  return (resources.files(__package__) / name).read_text('utf-8')


def alone(content: Mapping[str, Any]) -> str:
  """The page with all that it needs in it, as a file that opens from a disk without a server.

  Its own scripts, named by their checksums, are all that it may run.

  Args:
    content: What `Watch.changes` first tells.
  """
  text = read('dashboard.html')
  sources: dict[str, list[str]] = {'script': [], 'style': []}

  def put(match: re.Match[str]) -> str:
    tag = 'style' if match['style'] else 'script'
    body = f'\n{read(match["style"] or match["script"])}\n'
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    sources[tag].append(f"'sha256-{digest}'")
    return f'<{tag}>{body}</{tag}>'

  text = re.sub(
    r'<link rel="stylesheet" href="(?P<style>[^"]+)">|<script src="(?P<script>[^"]+)"></script>',
    put,
    text,
  )
  # No markup ends the element, whatever runs are called.
  data = json.dumps(content, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')
  policy = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'" + ''.join(
    f'; {tag}-src {" ".join(found)}' for tag, found in sources.items()
  )
  meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
  block = f'<script type="application/json" id="snapshot">{data}</script>'
  text = text.replace('<!-- policy -->', meta, 1)
  return text.replace('<!-- snapshot -->', block, 1)
