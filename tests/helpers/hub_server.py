"""A stand-in for the Hugging Face hub on this machine, as far as model folders need it."""

import base64
import contextlib
import dataclasses
import http.server
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.helpers.serving import address_of

COMMIT = 'c0ffee0123456789c0ffee0123456789c0ffee01'


@dataclasses.dataclass
class Hub:
  """What the server has and does; may be changed while it runs.

  Attributes:
    files: 'OWNER/NAME' -> file -> content.
    url: Its address.
    commit: What every revision but 'nowhere' means.
    sizes: File -> the size that is said of it, in place of the true one.
    status: What every request is answered with, where it is not 200.
    elsewhere: The address of another server, to which requests for files are sent on; '' for none.
    cut: The bytes after which a file breaks off.
    large: The files that it takes by way of Git LFS.
    stored: SHA-256 -> what came that way.
    token: Who sends another one may not read or write; '' for all who may.
    requests: Method and path of what it was asked.
    tokens: The tokens that came.
    created: The repositories that it was told to make, with whether they are private.
  """

  files: dict[str, dict[str, bytes]]
  url: str = ''
  commit: str = COMMIT
  sizes: dict[str, int] = dataclasses.field(default_factory=dict)
  status: int = 200
  elsewhere: str = ''
  cut: int | None = None
  large: tuple[str, ...] = ()
  stored: dict[str, bytes] = dataclasses.field(default_factory=dict)
  token: str = ''
  requests: list[str] = dataclasses.field(default_factory=list)
  tokens: set[str] = dataclasses.field(default_factory=set)
  created: dict[str, bool] = dataclasses.field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
  hub: Hub

  def log_message(self, *_: object) -> None:
    pass

  def do_HEAD(self) -> None:
    self.do_GET()

  def do_GET(self) -> None:
    if not self._may():
      return
    path = self.path.partition('?')[0]
    if match := re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/revision/(.+))?', path):
      self._info(*match.groups())
    elif match := re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path):
      self._file(*match.groups())
    else:
      self._answer(404, b'')

  def do_POST(self) -> None:
    body = self.rfile.read(int(self.headers.get('content-length') or 0))
    if not self._may():
      return
    path = self.path.partition('?')[0]
    if path == '/api/repos/create':
      wanted = json.loads(body)
      name = f'{wanted["organization"]}/{wanted["name"]}'
      self.hub.created[name] = 'private' in (
        wanted.get('visibility'),
        wanted.get('private') and 'private',
      )
      self.hub.files.setdefault(name, {})
      self._json({'url': f'{self.hub.url}/{name}'})
    elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/preupload/(.+)', path):
      files = json.loads(body)['files']
      answers = [
        {
          'path': f['path'],
          'uploadMode': 'lfs' if f['path'] in self.hub.large else 'regular',
          'shouldIgnore': False,
        }
        for f in files
      ]
      self._json({'files': answers})
    elif path.endswith('.git/info/lfs/objects/batch'):
      objects = json.loads(body)['objects']
      upload = {o['oid']: {'upload': {'href': f'{self.hub.url}/lfs/{o["oid"]}'}} for o in objects}
      self._json(
        {'transfer': 'basic', 'objects': [{**o, 'actions': upload[o['oid']]} for o in objects]}
      )
    elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/commit/(.+)', path):
      for line in body.decode().splitlines():
        operation = json.loads(line)
        if operation['key'] == 'file':
          value = operation['value']
          self.hub.files[match[1]][value['path']] = base64.b64decode(value['content'])
        elif operation['key'] == 'lfsFile':
          value = operation['value']
          self.hub.files[match[1]][value['path']] = self.hub.stored[value['oid']]
      url = f'{self.hub.url}/{match[1]}/commit/{self.hub.commit}'
      self._json({'success': True, 'commitOid': self.hub.commit, 'commitUrl': url})
    else:
      self._json({})

  def do_PUT(self) -> None:
    content = self.rfile.read(int(self.headers['content-length']))
    self.hub.stored[self.path.removeprefix('/lfs/')] = content
    self._answer(200, b'')

  def _may(self) -> bool:
    """Answers where the request is refused, whatever it is."""
    hub = self.hub
    hub.requests.append(f'{self.command} {self.path}')
    sent = self.headers.get('authorization', '').removeprefix('Bearer ')
    hub.tokens.add(sent)
    if hub.status != 200 or (hub.token and sent != hub.token):
      self._answer(hub.status if hub.status != 200 else 401, b'')
      return False
    return True

  def _info(self, name: str, revision: str | None) -> None:
    hub = self.hub
    if name not in hub.files:
      self._answer(404, b'', {'X-Error-Code': 'RepoNotFound'})
    elif revision == 'nowhere':
      self._answer(404, b'', {'X-Error-Code': 'RevisionNotFound'})
    else:
      siblings = [
        {'rfilename': file, 'size': hub.sizes.get(file, len(content))}
        for file, content in hub.files[name].items()
      ]
      self._json({'id': name, 'sha': hub.commit, 'siblings': siblings})

  def _file(self, name: str, revision: str, file: str) -> None:
    if self.hub.elsewhere:
      self._answer(302, b'', {'Location': f'{self.hub.elsewhere}{self.path}'})
      return
    content = self.hub.files.get(name, {}).get(file)
    if content is None:
      self._answer(404, b'', {'X-Error-Code': 'EntryNotFound'})
      return
    self._answer(200, content, {'X-Repo-Commit': revision, 'ETag': f'"{hash(content):x}"'})

  def _json(self, content: Any) -> None:
    self._answer(200, json.dumps(content).encode(), {'Content-Type': 'application/json'})

  def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
    self.send_response(status)
    for name, value in {'Content-Length': str(len(content)), **(headers or {})}.items():
      self.send_header(name, value)
    self.end_headers()
    is_file = '/resolve/' in self.path
    if self.command != 'HEAD':
      self.wfile.write(content[: self.hub.cut] if is_file else content)


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
  """Serves it, whose `url` is set, in threads of this process."""
  with address_of(type('Handler', (_Handler,), {'hub': hub})) as hub.url:
    yield hub
