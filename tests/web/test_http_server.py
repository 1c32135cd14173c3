"""The HTTP server of the page: sizes, slow connections, other pages, ports."""

import contextlib
import errno
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

from cifar_jax import commands
from cifar_jax.utils.errors import UserError
from cifar_jax.web import http_server
from tests.helpers.wait import wait_for

pytest.importorskip('waitress')
LARGE = 900 * 2**20  # bytes


def app(environ, start):
  """Answers with the number of bytes it was given."""
  count = len(environ['wsgi.input'].read())
  start('200 OK', [('Content-Type', 'text/plain')])
  return [str(count).encode()]


@contextlib.contextmanager
def serving(request_seconds: float, host: str = '127.0.0.1') -> Iterator[int]:
  """The port of a running server."""
  server = http_server.make_server(app, host, 0, request_seconds)
  watched = server.map if hasattr(server, 'map') else server._map
  trigger = http_server._listening(server)[0].trigger
  thread = threading.Thread(target=server.run)
  thread.start()
  try:
    yield http_server.port_of(server)
  finally:
    # In the thread of the server, which ends when it has nothing left to watch.
    trigger.pull_trigger(lambda: server.asyncore.close_all(watched, ignore_all=True))
    thread.join()
    server.task_dispatcher.shutdown()


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
  """Of a server that must not write files."""
  monkeypatch.setattr('tempfile.TemporaryFile', lambda *_, **__: pytest.fail('a file was written'))
  with serving(100) as found:
    yield found


def begin(port: int, *lines: str) -> socket.socket:
  """A connection that has sent the first lines of a request."""
  connection = socket.create_connection(('127.0.0.1', port), timeout=20)
  text = '\r\n'.join(['POST / HTTP/1.1', 'Host: localhost', *lines, ''])
  connection.sendall(text.encode())
  return connection


def is_closed(connection: socket.socket) -> bool:
  """Whether the other side has ended a connection that still wants to send."""
  connection.settimeout(0.01)
  try:
    connection.sendall(b'z')
    return connection.recv(100) == b''
  except TimeoutError:
    return False
  except OSError:
    return True


def post(port: int, body: bytes) -> tuple[int, bytes]:
  with contextlib.closing(http.client.HTTPConnection('127.0.0.1', port, timeout=20)) as connection:
    connection.request('POST', '/', body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_large_body_is_refused_before_it_is_sent(port) -> None:
  with begin(port, f'Content-Length: {LARGE}', '') as connection:
    assert connection.recv(100).startswith(b'HTTP/1.1 413 ')


def test_bodies_of_the_largest_size_are_taken_and_those_above_are_not(port) -> None:
  assert post(port, bytes(http_server.MOST_IN_BODY)) == (200, b'%d' % http_server.MOST_IN_BODY)
  with begin(port, f'Content-Length: {http_server.MOST_IN_BODY + 1}', '') as connection:
    assert connection.recv(100).startswith(b'HTTP/1.1 413 ')


def test_a_body_without_a_length_is_counted(port) -> None:
  """The server stops to read soon after the limit, by closing the connection."""
  sent, chunk = 0, b'100000\r\n' + bytes(2**20) + b'\r\n'
  with begin(port, 'Transfer-Encoding: chunked', '') as connection:
    try:
      while sent < LARGE:
        connection.sendall(chunk)
        sent += 2**20
    except OSError:
      pass
  assert http_server.MOST_IN_BODY - 2**20 <= sent < 2 * http_server.MOST_IN_BODY


def test_many_slow_connections_do_not_stop_the_others() -> None:
  """At 100 of them the server took no further ones, as long as each sent a letter now and then."""
  with serving(request_seconds=2) as port, contextlib.ExitStack() as stack:
    slow = [stack.enter_context(begin(port, 'X: y')) for _ in range(150)]
    start = time.monotonic()
    assert post(port, b'abc') == (200, b'3')
    assert time.monotonic() - start < 5
    left = set(slow)
    assert wait_for(
      lambda: not left.difference_update(set(filter(is_closed, left))) and not left, 30
    )
    assert post(port, b'abcd') == (200, b'4')


def test_unfinished_bodies_are_bounded_together(port, monkeypatch) -> None:
  monkeypatch.setattr(http_server, '_MOST_AT_ONCE', 20 * 2**20)
  with contextlib.ExitStack() as stack:
    waiting = [
      stack.enter_context(begin(port, f'Content-Length: {16 * 2**20}', '')) for _ in range(4)
    ]
    for connection in waiting:
      with contextlib.suppress(OSError):
        connection.sendall(bytes(9 * 2**20))
    assert wait_for(lambda: sum(map(is_closed, waiting)) == 2, 10)


def test_a_connection_that_is_about_to_be_closed_ends_no_other() -> None:
  def channel(size: int, will_close: bool) -> types.SimpleNamespace:
    requests = [types.SimpleNamespace(body_bytes_received=size)]
    return types.SimpleNamespace(will_close=will_close, requests=requests, request=None)

  channels = {1: channel(5, False), 2: channel(9, True), 3: channel(3, False)}
  assert http_server._held(types.SimpleNamespace(active_channels=channels)) == 8


@pytest.mark.parametrize(
  ('host', 'place', 'is_open'),
  [
    ('127.0.0.1', '127.0.0.1:80', False),
    ('localhost', 'localhost:80', False),
    ('::1', '[::1]:80', False),
    ('::', '[::]:80', True),
    ('0.0.0.0', '0.0.0.0:80', True),
  ],
)
def test_it_says_where_it_serves_and_to_whom(host, place, is_open, capsys) -> None:
  done = []
  server = types.SimpleNamespace(
    channel_class=None,
    effective_port=80,
    run=lambda: done.append('run') or 1 / 0,
    close=lambda: done.append('close'),
  )
  with pytest.raises(ZeroDivisionError):
    http_server.run(server, host, 'cats')
  first, *more = capsys.readouterr().out.splitlines()
  assert first == f'serving cats at http://{place}/ until Ctrl-C'
  assert more == ['whoever can reach this machine can use it'] * is_open
  assert done == ['run', 'close']


@pytest.mark.parametrize(
  ('host', 'origin', 'bound', 'allowed'),
  [
    ('127.0.0.1:7860', None, '127.0.0.1', True),
    ('localhost:7860', 'http://localhost:7860', '127.0.0.1', True),
    ('LOCALHOST:7860', 'http://localhost:7860', '127.0.0.1', True),
    ('[::1]:7860', 'http://[::1]:7860', '::1', True),
    ('localhost:7860', 'http://localhost:8000', '127.0.0.1', False),
    ('localhost:7860', 'https://evil.example', '127.0.0.1', False),
    ('localhost:7860', 'null', '127.0.0.1', False),
    ('localhost:7860', '', '127.0.0.1', False),
    ('evil.example', None, '127.0.0.1', False),
    ('127.0.0.1.evil.example:7860', None, '127.0.0.1', False),
    ('localhost@evil.example', None, '127.0.0.1', False),
    ('', None, '127.0.0.1', False),
    ('192.168.1.5:7860', None, '127.0.0.1', False),
    ('192.168.1.5:7860', 'http://192.168.1.5:7860', '0.0.0.0', True),
    ('localhost:7860', None, '0.0.0.0', True),
    (socket.gethostname(), None, '0.0.0.0', True),
    ('box.example', None, 'box.example', True),
    ('evil.example:7860', 'http://evil.example:7860', '0.0.0.0', False),
    ('evil.example:7860', None, '192.168.1.5', False),
    ('192.168.1.5:7860', 'http://evil.example', '0.0.0.0', False),
  ],
)
def test_who_is_answered(host, origin, bound, allowed) -> None:
  assert http_server.may_ask(host, origin, bound) is allowed


@pytest.mark.parametrize(
  ('host', 'origin', 'bound', 'allowed'),
  [
    ('cats.example:8000', None, '0.0.0.0', True),  # a DNS alias
    ('CATS.example', 'https://cats.example', '127.0.0.1', True),  # a proxy that keeps the Host
    ('127.0.0.1:7860', 'https://cats.example', '127.0.0.1', True),  # and one that does not
    ('localhost:7860', 'https://x1-7860.dev.example', '127.0.0.1', True),  # a forwarded port
    ('cats.example:7860', 'http://cats.example:8443', '0.0.0.0', True),
    ('10.0.0.7', 'https://10.0.0.7', '127.0.0.1', True),
    ('[fd00::7]', 'https://[FD00::7]', '127.0.0.1', True),
    ('evil.example', 'https://cats.example', '0.0.0.0', False),
    ('cats.example', 'https://evil.example', '0.0.0.0', False),
    ('cats.example', 'https://cats.example.evil.example', '0.0.0.0', False),
    ('cats.example', 'https://evil.example@cats.example', '0.0.0.0', False),
    ('cats.example', 'null', '0.0.0.0', False),
    ('dogs.cats.example', None, '0.0.0.0', False),
    ('10.0.0.8', None, '127.0.0.1', False),
  ],
)
def test_names_that_the_user_gave_are_answered(host, origin, bound, allowed) -> None:
  given = ['Cats.example', 'x1-7860.dev.example.', '10.0.0.7', 'FD00::7']
  names = http_server.checked_names(given)
  assert http_server.may_ask(host, origin, bound, names) is allowed
  assert not http_server.may_ask(host, origin, bound)


def test_names_are_those_of_hosts(tmp_path, capsys) -> None:
  # 'bücher' in punycode, of RFC 3492, is what browsers send.
  assert http_server.checked_names(['bücher.example']) == {'xn--bcher-kva.example'}
  for name in ('https://cats.example', 'cats.example:80', '*.example', 'a..b', 'null/', ''):
    with pytest.raises(SystemExit) as end:
      commands.main(['serve', str(tmp_path), '--name=dogs.example', f'--name={name}'])
    assert end.value.code == 2
    assert f'--name={name} is no host name; give it as in' in capsys.readouterr().err


@pytest.mark.parametrize('port', [-1, 65536, 99999, 2**40])
def test_a_number_that_is_no_port(port, tmp_path, capsys) -> None:
  with pytest.raises(UserError, match=f'--port={port} is no port; use 1 to 65535'):
    http_server.make_server(app, '127.0.0.1', port)
  with pytest.raises(SystemExit) as end:
    commands.main(['serve', str(tmp_path), f'--port={port}'])
  assert end.value.code == 2
  assert 'is no port' in capsys.readouterr().err


@pytest.mark.parametrize('host', ['', ' '])
def test_an_empty_address_is_not_all_addresses(host) -> None:
  with pytest.raises(UserError, match='--host is empty; leave it out for this machine alone'):
    http_server.make_server(None, host, 0)


def test_a_port_in_use_and_an_address_elsewhere() -> None:
  with socket.create_server(('127.0.0.1', 0)) as other:
    port = other.getsockname()[1]
    with pytest.raises(UserError, match=f'port {port} of 127.0.0.1 is in use; choose another'):
      http_server.make_server(app, '127.0.0.1', port)
  for host in ('192.0.2.1', 'no-such-name.invalid'):
    with pytest.raises(UserError, match=f'--host={host} is no address of this machine'):
      http_server.make_server(app, host, 0)


def test_a_name_of_several_addresses(monkeypatch) -> None:
  """'localhost' is 127.0.0.1 and ::1; a server of several addresses had no port."""
  addresses = [(socket.AF_INET, 1, 6, '', (f'127.0.0.{last}', 0)) for last in (1, 2, 2)]
  monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: addresses)
  with serving(100, 'localhost') as port:
    monkeypatch.undo()
    assert post(port, b'abc') == (200, b'3')
    with socket.create_connection(('127.0.0.2', port), timeout=20):
      pass


@pytest.mark.parametrize('number', [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@pytest.mark.parametrize('first', ['::1', '127.0.0.1'])
def test_a_name_of_an_address_that_is_not_here(monkeypatch, number, first) -> None:
  """'localhost' was refused where its first address, or the kernel's missing IPv6, was no use."""
  families = {'::1': socket.AF_INET6, '127.0.0.1': socket.AF_INET}
  addresses = [
    (families[address], 1, 6, '', (address, 0))
    for address in sorted(families, key=lambda address: address != first)
  ]
  create = socket.create_server
  missing = {socket.AF_INET6}

  def create_server(address, *, family):
    if family in missing:
      raise OSError(number, 'not here')
    return create(address, family=family)

  monkeypatch.setattr(socket, 'create_server', create_server)
  monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: addresses)
  with serving(100, 'localhost') as port, socket.socket() as client:
    client.connect(('127.0.0.1', port))
  missing.add(socket.AF_INET)
  with pytest.raises(UserError, match='--host=localhost is no address of this machine'):
    http_server.make_server(app, 'localhost', 0)


@pytest.mark.thorough
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_memory_of_a_large_picture_is_given_back(tiny_run, tmp_path) -> None:
  """A picture of 16 megapixels takes more than 48 MB while it is decoded. The command line is the
  real one: the page is asked by the names that it gives.
  """
  image_module = pytest.importorskip('PIL.Image')
  small, large = tmp_path / 'small.png', tmp_path / 'large.png'
  image_module.new('RGB', (8, 8), 'red').save(small)
  image_module.fromarray(np.zeros((4000, 4000, 4), np.uint8)).save(large)
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'cifar_jax', 'serve', str(tiny_run), '--port=0', '--neighbours=0'),
      *('--name=dogs.example', '--name=cats.example'),
    ],
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONUNBUFFERED': '1'},
  )

  def ask(picture: pathlib.Path, name: str = 'cats.example') -> dict[str, int]:
    """Sends a picture; returns resident memory of the server in MB, now and at most."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head + picture.read_bytes() + b'\r\n--x--\r\n'
    headers = {'Content-Type': 'multipart/form-data; boundary=x', 'Origin': f'https://{name}'}
    request = urllib.request.Request(f'http://127.0.0.1:{port}/predict', body, headers)
    with urllib.request.urlopen(request, timeout=100) as answer:
      assert json.load(answer)['classes']
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    return {
      size: int(re.search(rf'{size}:\s+(\d+) kB', status)[1]) // 1000 for size in ('VmRSS', 'VmHWM')
    }

  assert process.stdout
  try:
    line = process.stdout.readline()
    port = int(re.search(r':(\d+)/', line)[1])
    ask(small, 'dogs.example')
    before = ask(small)
    after = ask(large)
    assert after['VmHWM'] > before['VmRSS'] + 100  # it was decoded whole
    assert after['VmRSS'] < before['VmRSS'] + 50
  finally:
    process.terminate()
    process.wait()
    process.stdout.close()
