"""A web server in threads of this process."""

import contextlib
import http.server
import threading
from collections.abc import Iterator


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True
  block_on_close = False

  def handle_error(self, *_: object) -> None:
    pass


@contextlib.contextmanager
def address_of(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
  """Serves by a handler, and gives the address, 'http://127.0.0.1:PORT'."""
  with _Server(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    try:
      yield f'http://127.0.0.1:{server.server_address[1]}'
    finally:
      server.shutdown()
      thread.join()
