"""The web page of a run: drop a picture, see what the network makes of it.

Nothing that comes in is written to disk, and no path of a request reaches the file system.
"""

import functools
import ipaddress
import secrets
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.anatomy import inside
from cifar_jax.data import Split
from cifar_jax.data.image_file import DamagedImageError, decode
from cifar_jax.errors import UserError
from cifar_jax.inference.neighbours import Neighbours
from cifar_jax.inference.predict import ranked
from cifar_jax.inference.trained import Trained
from cifar_jax.report import pixels
from cifar_jax.report.extras import require
from cifar_jax.report.glimpses import cam_layer

MOST_UPLOADED = 16 * 2**20  # bytes
_NEAREST = 6


def make_app(network: Trained, neighbours: Callable[[], Neighbours | None], host: str) -> Any:
  """The Flask application.

  Args:
    network: of a run.
    neighbours: gives the training images to compare with, None while there are none.
    host: the address that it is going to be bound to. At a loopback address only requests that
      name this machine are answered, so that no page elsewhere can reach it through the browser.
  """
  (flask,) = require('serve', 'flask')
  app = flask.Flask(__name__, static_folder=None, template_folder='../report/templates')
  app.config['MAX_CONTENT_LENGTH'] = MOST_UPLOADED
  app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
  explain = _explainer(network)

  @app.before_request
  def only_this_machine() -> Any:
    name = flask.request.host.rpartition(':')[0] or flask.request.host
    if is_loopback(host) and not is_loopback(name.strip('[]')):
      flask.abort(403)

  @app.after_request
  def guarded(response: Any) -> Any:
    response.headers['X-Content-Type-Options'] = 'nosniff'
    response.headers['Referrer-Policy'] = 'no-referrer'
    response.headers['Cache-Control'] = 'no-store'
    response.headers.setdefault('Content-Security-Policy', "default-src 'none'")
    return response

  @app.get('/')
  def page() -> Any:
    nonce = secrets.token_urlsafe(16)
    text = flask.render_template(
      'serve.html',
      title=f'{network.run.resolve().name}: what is this?',
      classes=network.class_names,
      nonce=nonce,
      most=MOST_UPLOADED,
    )
    response = flask.make_response(text)
    response.headers['Content-Security-Policy'] = (
      f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; "
      "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'"
    )
    return response

  @app.post('/predict')
  def predict() -> Any:
    upload = flask.request.files.get('image')
    if upload is None:
      return {'error': 'no picture was sent'}, 400
    try:
      image = decode(upload.read(), network.preprocessing).pixels
    except DamagedImageError as error:
      return {'error': f'this picture cannot be used: {error}'}, 400
    probabilities = network.probabilities(image[None])[0]
    return {
      'classes': [
        {'name': name, 'probability': probability}
        for name, probability in ranked(probabilities, network.class_names, 10)
      ],
      'seen': _address(image),
      'reasons': [_address(picture) for picture in explain(image, int(probabilities.argmax()))],
      'nearest': _nearest(neighbours(), network, image),
    }

  @app.errorhandler(413)
  def too_large(_: Any) -> Any:
    return {'error': f'the picture is larger than {MOST_UPLOADED // 2**20} MiB'}, 413

  return app


def serve(network: Trained, split: Split | None, count: int, host: str, port: int) -> None:
  """Serves until Ctrl-C.

  Args:
    network: of a run.
    split: training images to compare with, or None.
    count: how many of them; 0 for none.
    host: address to bind to.
    port: port to bind to; 0 for any free one.

  Raises:
    UserError: a package is missing, or the port is taken.
  """
  (waitress,) = require('serve', 'waitress')
  found: list[Neighbours] = []
  app = make_app(network, lambda: found[0] if found else None, host)
  try:
    server = waitress.create_server(app, host=host, port=port, threads=4)
  except (OSError, ValueError) as error:
    raise UserError(f'cannot serve at {host}:{port} ({error}); choose another --port') from None
  if split is not None and count:
    threading.Thread(
      target=lambda: found.append(Neighbours(network, split, count)), daemon=True
    ).start()
  print(f'serving {network.run} at http://{_in_url(host)}:{server.effective_port}/ until Ctrl-C')
  if not is_loopback(host):
    print('whoever can reach this machine can use it')
  try:
    server.run()
  finally:
    server.close()


def is_loopback(host: str) -> bool:
  """Whether a host name or address means this machine alone."""
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def _explainer(network: Trained) -> Callable[[np.ndarray, int], list[np.ndarray]]:
  """Pictures of what a class depends on: saliency and, where there are maps, Grad-CAM."""
  layer = cam_layer(network)
  module = network.module
  saliency = jax.jit(functools.partial(inside.saliency, module))
  grad_cam = jax.jit(functools.partial(inside.grad_cam, module), static_argnums=3)

  def explain(image: np.ndarray, label: int) -> list[np.ndarray]:
    inputs, classes = network.normalize(jnp.asarray(image[None])), jnp.asarray([label], jnp.int32)
    slopes = np.asarray(saliency(network.variables, inputs, classes))[0]
    pictures = [pixels.coloured(np.sqrt(slopes), 'inferno')]
    if layer:
      heat = np.asarray(grad_cam(network.variables, inputs, classes, layer))[0]
      pictures.append(pixels.overlay(image, heat))
    return pictures

  return explain


def _nearest(
  neighbours: Neighbours | None, network: Trained, image: np.ndarray
) -> list[dict[str, str]]:
  if neighbours is None:
    return []
  return [
    {
      'image': _address(neighbours.images[place]),
      'name': network.class_names[neighbours.labels[place]],
    }
    for place in neighbours.nearest(image, _NEAREST)
  ]


def _address(image: np.ndarray) -> str:
  return pixels.data_uri(pixels.png(np.asarray(image)))


def _in_url(host: str) -> str:
  return f'[{host}]' if ':' in host else host
