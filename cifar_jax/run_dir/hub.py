"""Model folders on the Hugging Face hub: `hub:OWNER/NAME` is downloaded, and one is uploaded.

Of a repository nothing but the known files of a model folder is asked for, each up to a size, and
nothing in them is run. What was downloaded is kept, and serves where the hub cannot be reached.
$HF_ENDPOINT names another server than the hub's own. Whoever is logged in, by $HF_TOKEN or `hf auth
login`, is asked for by the library; the token is never shown.
"""

import contextlib
import functools
import os
import pathlib
import re
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from tqdm import tqdm

from cifar_jax import config as configs
from cifar_jax.data.fetch.mirrors import RemoteFile
from cifar_jax.run_dir import history, model_folder, run_files
from cifar_jax.run_dir.hub_answers import UnreachableError, sentences
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, make_folder, replacing, write_json
from cifar_jax.utils.locks import locked
from cifar_jax.utils.optional_deps import require
from cifar_jax.utils.paths import cache_folder
from cifar_jax.utils.suggestions import listed

PREFIX = 'hub:'
_REQUIRED = (configs.CONFIG_NAME, run_files.ABOUT, model_folder.WEIGHTS)
# File -> the most bytes of it.
_MOST = {
  configs.CONFIG_NAME: 2**20,
  run_files.ABOUT: 2**24,
  run_files.NORMALIZATION: 2**28,
  model_folder.WEIGHTS: 2**32,
  model_folder.CARD: 2**24,
  model_folder.README: 2**24,
  history.CSV_NAME: 2**26,
}
_PICTURES = (model_folder.CURVES, model_folder.CONFUSION)  # which are uploaded alone
_SECONDS = 20  # that the hub may take to answer
_TICK = 0.1  # seconds between two looks at a download
_LETTERS = 12  # of a commit in the name of its folder
_ALONE = '.weights'  # the end of that name where it is no model folder
_NAMED = 5


class Address(NamedTuple):
  """Where a model folder is on the hub.

  Attributes:
    repository: 'OWNER/NAME'.
    revision: A branch, a tag or a commit.
  """

  repository: str
  revision: str = 'main'

  def __str__(self) -> str:
    return f'{PREFIX}{self.repository}@{self.revision}'


def parse(text: str) -> Address:
  """Reads 'hub:OWNER/NAME' or 'hub:OWNER/NAME@REVISION', with or without 'hub:'.

  Raises:
    UserError: it is something else.
  """
  repository, _, revision = text.removeprefix(PREFIX).partition('@')
  address = Address(repository, revision or 'main')
  part = r'[A-Za-z0-9_][\w.-]{0,95}'
  if (
    not re.fullmatch(f'{part}/{part}', repository, re.ASCII)
    or not re.fullmatch(rf'{part}(/{part})*', address.revision, re.ASCII)
    or '..' in text
  ):
    raise UserError(
      f'{text[:100]!r} is no model on the hub; write {PREFIX}OWNER/NAME, or '
      f'{PREFIX}OWNER/NAME@REVISION for a branch, a tag or a commit'
    )
  return address


def fetch(address: Address) -> pathlib.Path:
  """The folder in the cache with the model folder of a repository, downloaded where it is missing.

  Raises:
    UserError: there is no such repository or revision, it holds no model folder or one that is too
      large, or the hub cannot be reached and nothing was kept.
  """
  return _fetch(address, '', _model_folder_in)


def fetch_weights(address: Address) -> pathlib.Path:
  """The file model.safetensors of a repository that other software has made, in the cache.

  Raises:
    UserError: as `fetch`, or it has no such file, or is a model folder.
  """
  return _fetch(address, _ALONE, _weights_in) / model_folder.WEIGHTS


def _fetch(
  address: Address,
  ending: str,
  choose: Callable[[Address, Mapping[str, RemoteFile]], Mapping[str, RemoteFile]],
) -> pathlib.Path:
  """The folder in the cache, with a name of that ending, for what is chosen of a repository."""
  owner, _, name = address.repository.partition('/')
  home = cache_folder() / 'hub' / owner
  known = _revisions(home / f'{name}.json')
  commit = known.get(address.revision, '')
  folder = home / f'{name}@{commit[:_LETTERS]}{ending}'
  kept = bool(commit) and folder.is_dir()
  if kept and commit == address.revision:  # which always means the same
    return folder
  try:
    commit, files = _ask(address)
  except UnreachableError as error:
    if not kept:
      raise
    print(f'WARNING: {error}; the copy in {folder} is used', file=sys.stderr)
    return folder
  folder = home / f'{name}@{commit[:_LETTERS]}{ending}'
  if not folder.is_dir():
    _download(address, choose(address, files), folder)
  said = {**known, address.revision: commit, commit: commit}
  if said != known:
    with contextlib.suppress(UserError):  # no room: the hub is asked next time
      write_json(home / f'{name}.json', said)
  return folder


def name_of(run: pathlib.Path) -> str | None:
  """'OWNER/NAME' of a folder that `fetch` keeps; None of another one."""
  found, owner = re.fullmatch(r'(.+)@[0-9a-f]+', run.name), run.absolute().parent
  kept = owner.parent == (cache_folder() / 'hub').absolute()
  return f'{owner.name}/{found[1]}' if found and kept else None


def push(folder: pathlib.Path, address: Address, private: bool) -> str:
  """Uploads a model folder, and makes its repository where there is none.

  Args:
    folder: The model folder.
    address: Where to.
    private: Whether a repository that is made is private.

  Returns:
    The address of the commit.

  Raises:
    UserError: nobody is logged in or they may not write there, or the hub cannot be reached.
  """
  (hub,) = require('hub', 'huggingface_hub')
  token = hub.get_token()
  if not token:
    raise UserError(
      'no token of the hub: set $HF_TOKEN to one that may write, or log in by `hf auth login`; '
      'https://huggingface.co/settings/tokens makes them'
    )
  if not (token.isascii() and token.isprintable()):
    raise UserError(
      'the token of the hub, perhaps $HF_TOKEN, has a letter that none has; copy it again'
    )
  api = hub.HfApi(endpoint=endpoint(), token=token)
  with sentences(f'the model cannot be uploaded to {address.repository}', *address, token):
    api.create_repo(address.repository, private=private or None, exist_ok=True, repo_type='model')
    done = api.upload_folder(
      repo_id=address.repository,
      repo_type='model',
      folder_path=folder,
      revision=None if address.revision == 'main' else address.revision,
      allow_patterns=list(files_of(folder)),
      commit_message='Upload a model folder of cifar_jax',
    )
  return str(done.commit_url)


def files_of(folder: pathlib.Path) -> dict[str, int]:
  """The files of a model folder that are uploaded, with their bytes.

  Raises:
    UserError: it is no model folder.
  """
  names = (*_MOST, *_PICTURES)
  found = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
  missing = [name for name in _REQUIRED if name not in found]
  if missing:
    raise UserError(f'{folder} is no model folder: it has no {", ".join(missing)}')
  return found


def endpoint() -> str:
  """The address of the server: $HF_ENDPOINT, or the hub's own."""
  return (os.environ.get('HF_ENDPOINT') or 'https://huggingface.co').rstrip('/')


def _revisions(path: pathlib.Path) -> dict[str, str]:
  """What each revision meant when the hub was last asked: commits."""
  try:
    found = json_files.read(path)
  except (OSError, UserError):
    return {}
  return {k: v for k, v in found.items() if isinstance(v, str) and re.fullmatch('[0-9a-f]+', v)}


def _ask(address: Address) -> tuple[str, dict[str, RemoteFile]]:
  """The commit that an address means, and where its known files are.

  Raises:
    UserError: there is none, or the hub gives no answer.
  """
  (hub,) = require('hub', 'huggingface_hub')
  api = hub.HfApi(endpoint=endpoint())
  with sentences(f'{address} cannot be read', *address):
    found = api.model_info(
      address.repository, revision=address.revision, files_metadata=True, timeout=_SECONDS
    )
  commit = str(found.sha or '')
  if not re.fullmatch('[0-9a-f]{7,64}', commit):
    raise UserError(f'{address} cannot be read: the server names no commit')
  return commit, {
    each.rfilename: RemoteFile(
      hub.hf_hub_url(address.repository, each.rfilename, revision=commit, endpoint=endpoint()),
      each.rfilename,
      each.size or 0,
    )
    for each in found.siblings or ()
    if each.rfilename in _MOST
  }


def _model_folder_in(address: Address, files: Mapping[str, RemoteFile]) -> Mapping[str, RemoteFile]:
  """The known files of a repository; raises UserError unless they make a model folder."""
  missing = [name for name in _REQUIRED if name not in files]
  if missing:
    raise UserError(
      f'{address} is no model folder of cifar_jax: it has no {listed(missing, _NAMED)}'
    )
  return _small_enough(address, files)


def _small_enough(address: Address, files: Mapping[str, RemoteFile]) -> Mapping[str, RemoteFile]:
  """The files; raises UserError where one is larger than any of its kind."""
  for name, file in files.items():
    if file.size > _MOST[name]:
      raise UserError(
        f'{address} is not downloaded: its {name} has {file.size:,} bytes, more than '
        f'{_MOST[name]:,}'
      )
  return files


def _weights_in(address: Address, files: Mapping[str, RemoteFile]) -> Mapping[str, RemoteFile]:
  """The weights alone; raises UserError where there are none, or more than they."""
  if all(name in files for name in _REQUIRED):
    raise UserError(f'{address} is a model folder, which needs no import: give it as RUN')
  if model_folder.WEIGHTS not in files:
    raise UserError(
      f'{address} has no {model_folder.WEIGHTS}; download the weights that it has, and import that '
      'file'
    )
  return _small_enough(address, {model_folder.WEIGHTS: files[model_folder.WEIGHTS]})


def _download(address: Address, files: Mapping[str, RemoteFile], folder: pathlib.Path) -> None:
  """Downloads the known files of a commit into a folder, which is whole or not there.

  One process downloads at a time, and others wait for it; it goes on with what a killed one left.
  """
  (hub,) = require('hub', 'huggingface_hub')
  home = make_folder(folder.parent, 'folder of the cache')

  def say() -> None:
    print(f'{address}: another process is downloading it; waiting for it', file=sys.stderr)

  with disk_errors(home), locked(home / f'.{folder.name}.lock', say):
    if folder.is_dir():
      return
    # No bar where nobody looks at it.
    total = sum(file.size for file in files.values())
    bar = tqdm(total=total, desc=str(address), unit='B', unit_scale=True, disable=None, leave=False)
    with bar, replacing(folder) as draft:
      draft.mkdir(exist_ok=True)
      for name, file in files.items():
        _download_file(address, file, draft / name, hub.get_token() or '', bar)
        if (draft / name).stat().st_size != file.size:
          raise UserError(
            f'{name} of {address} cannot be downloaded: it is not of the {file.size:,} bytes that '
            'the hub says'
          )


def _download_file(
  address: Address, file: RemoteFile, path: pathlib.Path, token: str, bar: Any
) -> None:
  """Downloads one file in a thread, so that the bar goes on and Ctrl-C is heard."""
  from cifar_jax.data.fetch.download import Download, Patience, RefusedError  # requests take time

  stop = threading.Event()
  say = functools.partial(bar.write, file=sys.stderr)
  download = Download(file, path, Patience(), stop, say, token)
  with ThreadPoolExecutor(1) as pool:
    work = pool.submit(download.run)
    try:
      shown = 0
      while not wait([work], _TICK).done:
        bar.update(download.received - shown)
        shown = download.received
      bar.update(download.received - shown)
      work.result()
    except RefusedError as error:
      raise UserError(
        f'{file.name} of {address} cannot be downloaded: {download.host} {error}; try again later'
      ) from None
    finally:
      stop.set()
