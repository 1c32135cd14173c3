"""The page as a file of its own: what it showed at one moment, without a server."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from cifar_jax.dashboard import page
from cifar_jax.dashboard.watch import Watch
from cifar_jax.utils.files import disk_errors, make_folder, replacing


def write_page(
  path: pathlib.Path, folders: Sequence[pathlib.Path], choices: Mapping[str, str]
) -> None:
  """Writes the page of some folders.

  Args:
    path: The HTML file to be.
    folders: Runs, studies, or folders around them.
    choices: What the page begins with where its address says nothing: `sort` and others that
      model.js names.

  Raises:
    UserError: it cannot be written.
  """
  told = {**json.loads(Watch(folders, shows_test=True).changes()), 'choices': dict(choices)}
  text = page.alone(told)
  make_folder(path.parent)
  with disk_errors(path.parent), replacing(path) as draft:
    draft.write_text(text, 'utf-8', 'replace')
