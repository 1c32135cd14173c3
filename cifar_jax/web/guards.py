"""Who may ask the application behind a page, and what every answer forbids its reader's browser."""

from collections.abc import Collection
from typing import Any

from cifar_jax.utils.optional_deps import require
from cifar_jax.web import http_server

REFUSED = (
  'This page does not know the name that it was asked by: start it with --name=HOST, where HOST is '
  'the name in the address bar, or open it at a plain IP address of its machine.'
)


def guard(app: Any, host: str, names: Collection[str], asked_by_script: Collection[str]) -> None:
  """Makes a Flask application answer its own pages alone, and its answers harmless.

  Args:
    host: The address that it is going to be bound to; see `http_server.may_ask`, as for `names`.
    asked_by_script: The endpoints that the script of the page asks: a refusal is JSON there, which
      the page shows.
  """
  (flask,) = require('serve', 'flask')

  @app.before_request
  def only_own_pages() -> Any:
    headers = flask.request.headers
    if http_server.may_ask(headers.get('Host', ''), headers.get('Origin'), host, names):
      return None
    by_script = flask.request.endpoint in asked_by_script
    return {'error': REFUSED} if by_script else f'{REFUSED}\n', 403

  @app.after_request
  def guarded(response: Any) -> Any:
    response.headers['X-Content-Type-Options'] = 'nosniff'
    response.headers['Referrer-Policy'] = 'no-referrer'
    response.headers['Cache-Control'] = 'no-store'
    response.headers.setdefault('Content-Security-Policy', "default-src 'none'")
    return response
