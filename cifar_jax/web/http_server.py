"""The HTTP server behind a page: how much it takes in, from whom, and for how long.

Limits stand here and not in the application, since by the time an application is asked the body of
a request has been received.
"""

import errno
import ipaddress
import logging
import re
import socket
import time
import urllib.parse
from collections.abc import Collection, Sequence
from typing import Any

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require

MOST_UPLOADED = 16 * 2**20  # bytes of an image
MOST_IN_BODY = MOST_UPLOADED + 64 * 2**10  # bytes, the form around the image included
_MOST_AT_ONCE = 128 * 2**20  # bytes of all bodies that are being received or wait for an answer
_CONNECTIONS = 500  # idle ones included
_IDLE_SECONDS = 20  # after which a connection without a request is closed
_REQUEST_SECONDS = 120  # that a request may take to arrive: 16 MiB at 1.1 Mbit/s
# Of an address that a name stands for, as ::1 of 'localhost' where there is no IPv6.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def make_server(app: Any, host: str, port: int, request_seconds: float = _REQUEST_SECONDS) -> Any:
  """A waitress server that is bound to an address and not running yet.

  A body that is too large is refused when its Content-Length says so or, without one, as soon as
  too much has come; nothing of a body is written to disk. Connections that send slowly cost a
  connection out of 500 and no thread, and are closed when their request does not become whole.

  Args:
    host: An address of this machine, or a name of one.
    port: 0 for any free one.

  Raises:
    UserError: a package is missing, the port is none or taken, the address is not of this machine.
  """
  check_port(port)
  waitress, channels = require('serve', 'waitress', 'waitress.channel')
  logging.getLogger('waitress').setLevel(logging.ERROR)  # clients that go away are no news

  class Channel(channels.HTTPChannel):  # type: ignore[name-defined]
    """A connection."""

    began = 0.0

    def received(self, data: bytes) -> bool:
      if self.request is None:
        self.began = time.monotonic()
      taken = super().received(data)
      if self.request is not None and _held(self.server) > _MOST_AT_ONCE:
        self.will_close = True
      return taken

    def readable(self) -> bool:
      late = self.request is not None and time.monotonic() - self.began > request_seconds
      self.will_close = self.will_close or late
      return super().readable()

  server = waitress.create_server(
    app,
    sockets=_bind(host, port),
    threads=4,
    max_request_header_size=16 * 2**10,
    max_request_body_size=MOST_IN_BODY + 1,  # the first size that is refused
    inbuf_overflow=MOST_IN_BODY + 2**20,  # what is larger than this goes to disk: nothing is
    recv_bytes=2**16,
    connection_limit=_CONNECTIONS,
    channel_timeout=_IDLE_SECONDS,
    cleanup_interval=5,
    asyncore_use_poll=True,  # select() cannot watch files with numbers above 1,023
    log_socket_errors=False,
  )
  for each in _listening(server):
    each.channel_class = Channel
  return server


def run(server: Any, host: str, what: object) -> None:
  """Serves until Ctrl-C, and says where and how long; then closes the server.

  Args:
    host: The host that the server was told to bind to.
    what: What is served, for that line.
  """
  place = f'[{host}]' if ':' in host else host
  print(f'serving {what} at http://{place}:{port_of(server)}/ until Ctrl-C', flush=True)
  if not is_loopback(host):
    print('whoever can reach this machine can use it', flush=True)
  try:
    server.run()
  finally:
    server.close()


def check_port(port: int) -> None:
  """Raises UserError if a number is no port."""
  if not 0 <= port <= 65535:
    raise UserError(f'--port={port} is no port; use 1 to 65535, or 0 for any free one')


def checked_names(names: Sequence[str]) -> frozenset[str]:
  """Host names and addresses as browsers write them, for `may_ask`.

  Raises:
    UserError: one of them is none.
  """
  return frozenset(map(_checked_name, names))


def port_of(server: Any) -> int:
  """The port that a server is bound to."""
  return int(_listening(server)[0].effective_port)


def is_loopback(host: str) -> bool:
  """Whether a host name or address means this machine alone."""
  return host == 'localhost' or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def may_ask(
  host_header: str, origin: str | None, bound_to: str, names: Collection[str] = ()
) -> bool:
  """Whether a request is for this server and comes from its own page, or from no page at all.

  A page elsewhere can send requests here through the browser of its reader. They carry its Origin,
  or, if its name was made to point to this machine (DNS rebinding), that name as their Host. So at
  a loopback address only loopback names are answered, at another one also plain addresses and the
  names of this machine, and at both the names that the user gave. Those may be the Origin as well,
  whatever the Host and the ports are: a proxy may change them.

  Args:
    origin: The Origin header of the request; None where it has none.
    bound_to: The host that the server was told to bind to.
    names: The names under which it can be reached besides, as `checked_names` returns them.
  """
  name = _host_name(host_header)
  if name is None:
    return False
  if origin is not None:
    authority = _authority(origin)
    if authority != host_header.lower() and _host_name(authority) not in names:
      return False
  if is_loopback(name) or name in names:
    return True
  return not is_loopback(bound_to) and (_is_address(name) or name in _own_names(bound_to))


def _held(server: Any) -> int:
  """Bytes of the bodies that all connections of a server have received and not answered; of those
  that are about to be closed none, or one that is too many would end others too.
  """
  return sum(
    request.body_bytes_received
    for channel in list(server.active_channels.values())
    if not channel.will_close
    for request in (*channel.requests, channel.request)
    if request is not None
  )


def _listening(server: Any) -> list[Any]:
  """The servers, one for each address; a name such as localhost may stand for several."""
  if hasattr(server, 'channel_class'):
    return [server]
  return [each for each in server.map.values() if hasattr(each, 'channel_class')]


def _bind(host: str, port: int) -> list[socket.socket]:
  """A socket for each address of a host, all at one port."""
  if not host.strip():  # which would be all addresses
    raise UserError('--host is empty; leave it out for this machine alone, or give 0.0.0.0 for all')
  bound: list[socket.socket] = []
  missing: OSError | None = None
  try:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, address in dict.fromkeys((each[0], each[4][0]) for each in found):
      try:
        bound.append(socket.create_server((str(address), port), family=family))
      except OSError as error:
        if error.errno not in _NOT_HERE:
          raise
        missing = error
      else:
        port = bound[0].getsockname()[1]
    if missing and not bound:
      raise missing
  except (OSError, ValueError) as error:
    for each in bound:
      each.close()
    raise UserError(_explained(error, host, port)) from None
  return bound


def _explained(error: OSError | ValueError, host: str, port: int) -> str:
  number = getattr(error, 'errno', None)
  if number == errno.EADDRINUSE:
    return f'port {port} of {host} is in use; choose another --port, or 0 for any free one'
  if number == errno.EACCES:
    return f'port {port} is reserved for the administrator; choose a --port above 1023'
  return f'--host={host} is no address of this machine; use 127.0.0.1, or 0.0.0.0 for all'


def _host_name(authority: str) -> str | None:
  """'[::1]:7860' -> '::1', lower case; None if it is no host with or without a port."""
  try:
    parts = urllib.parse.urlsplit(f'//{authority}')
    _ = parts.port  # raises if it is no number
  except ValueError:
    return None
  if parts.username is not None or parts.path or parts.query or parts.fragment:
    return None
  return (parts.hostname or '').rstrip('.') or None


def _checked_name(name: str) -> str:
  if _is_address(name):
    return name.lower()
  try:
    found = name.encode('idna').decode().lower().rstrip('.')
  except UnicodeError:
    found = ''
  if not re.fullmatch(r'[a-z0-9_][a-z0-9._-]*', found):
    raise UserError(
      f'--name={name} is no host name; give it as in the address bar, without https:// and port'
    )
  return found


def _authority(origin: str) -> str:
  """'http://localhost:7860' -> 'localhost:7860'; '' of what is none, as 'null'."""
  try:
    return urllib.parse.urlsplit(origin).netloc.lower()
  except ValueError:
    return ''


def _is_address(name: str) -> bool:
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True


def _own_names(bound_to: str) -> set[str]:
  own = socket.gethostname()
  return {name.lower() for name in (bound_to, own, f'{own}.local', socket.getfqdn())}
