"""The dashboard as an application: one page, what changed since, and images of epochs.

Nothing that comes in is written to disk, and no part of a request becomes a path: files of the page
are asked for by name from a table, runs by an id that only a run that was found has.
"""

import pathlib
from collections.abc import Collection, Sequence
from typing import Any

from cifar_jax.dashboard import images, page
from cifar_jax.dashboard.watch import Watch
from cifar_jax.utils.optional_deps import require
from cifar_jax.web import http_server
from cifar_jax.web.guards import guard

_POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MIME = {'html': 'text/html', 'js': 'text/javascript', 'css': 'text/css'}


def make_app(watch: Watch, host: str, names: Collection[str] = ()) -> Any:
  """The Flask application.

  Args:
    watch: The folders that are shown.
    host: The address that it is going to be bound to; see `http_server.may_ask`, as for `names`.
  """
  (flask,) = require('serve', 'flask')
  app = flask.Flask(__name__, static_folder=None)
  guard(app, host, names, {'changes', 'steps'})
  epoch_images = images.EpochImages()

  @app.get('/')
  def index() -> Any:
    return file('dashboard.html')

  @app.get('/<name>')
  def file(name: str) -> Any:
    if name not in page.FILES:
      flask.abort(404)
    response = flask.Response(page.read(name), mimetype=_MIME[name.rpartition('.')[2]])
    response.headers['Content-Security-Policy'] = _POLICY
    return response

  @app.get('/changes')
  def changes() -> Any:
    text = watch.changes(flask.request.args.get('since', ''))
    return flask.Response(text, mimetype='application/json')

  @app.get('/steps/<name>')
  def steps(name: str) -> Any:
    run = watch.run(name)
    return {'steps': epoch_images.steps(run)} if run else ({'error': 'there is no such run'}, 404)

  @app.get('/image/<name>/<int:step>/<tag>/<int:index>')
  def image(name: str, step: int, tag: str, index: int) -> Any:
    run = watch.run(name)
    content = run and epoch_images.png(run, step, tag, index)
    if not content:
      flask.abort(404)
    return flask.Response(content, mimetype='image/png')

  return app


def serve(
  folders: Sequence[pathlib.Path], host: str, port: int, names: Collection[str] = ()
) -> None:
  """Serves until Ctrl-C.

  Args:
    folders: Runs, studies, or folders around them.
    port: The port to bind to; 0 for any free one.

  Raises:
    UserError: a package is missing, or the port is taken.
  """
  watch = Watch(folders)
  server = http_server.make_server(make_app(watch, host, names), host, port)
  watch.changes()  # all is read before the first page asks
  http_server.run(server, host, ', '.join(map(str, folders)))
