"""The web page of a run: drop an image, see what the network makes of it.

Nothing that comes in is written to disk, and no path of a request reaches the file system.
"""

import functools
import io
import secrets
import threading
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from cifar_jax.analysis import attribution
from cifar_jax.data import Examples, Split, label_text
from cifar_jax.data.image_file import DamagedImageError, decode
from cifar_jax.figures import files, image_utils
from cifar_jax.figures.interpretability import make_explanation
from cifar_jax.predict.classifier import Classifier, in_batches
from cifar_jax.predict.predictions import predicted, ranked
from cifar_jax.run_dir import references
from cifar_jax.startup import host_memory
from cifar_jax.utils.optional_deps import require
from cifar_jax.web import http_server
from cifar_jax.web.guards import guard

_NEAREST = 6


class NearestNeighbors:
  """Training images that a network finds most like an image, by its own description of them."""

  def __init__(self, network: Classifier, split: Examples, count: int):
    """Runs the network over the first `count` images of `split`, which takes a while."""

    @jax.jit
    def features(variables: Any, images: jax.Array) -> jax.Array:
      return attribution.features(network.module, variables, network.normalize(images))

    self._features = functools.partial(in_batches, features, network.variables)
    self.images, self.labels = split.images[:count], split.labels[:count]
    self._known = self._directions(self.images)

  def nearest(self, image: np.ndarray, count: int) -> np.ndarray:
    """Places int64 [count] of the images whose features have the smallest angle to those of `image`
    uint8 [H, W, C], the nearest first.
    """
    likeness = self._known @ self._directions(image[None])[0]
    return np.argsort(-likeness, kind='stable')[:count]

  def _directions(self, images: np.ndarray) -> np.ndarray:
    """Features float32 [N, F] of length 1."""
    found = self._features(images)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def make_app(
  network: Classifier,
  neighbors: Callable[[], NearestNeighbors | None],
  host: str,
  names: Collection[str] = (),
) -> Any:
  """The Flask application.

  Args:
    neighbors: The function that gives the training images to compare with, None while there are
      none.
    host: The address that it is going to be bound to; see `http_server.may_ask`, as for `names`.
  """
  (flask,) = require('serve', 'flask')

  class Request(flask.Request):  # type: ignore[name-defined]
    """A request whose files stay in memory."""

    def _get_file_stream(self, *_: Any, **__: Any) -> io.BytesIO:
      return io.BytesIO()

  app = flask.Flask(__name__, static_folder=None)
  app.request_class = Request
  app.config['MAX_CONTENT_LENGTH'] = http_server.MOST_IN_BODY
  explain = make_explanation(network)
  one_at_a_time = threading.Lock()  # so that the memory of one image is the most that is needed

  guard(app, host, names, {'predict'})

  @app.get('/')
  def page() -> Any:
    nonce = secrets.token_urlsafe(16)
    content = {
      'title': f'{network.run.resolve().name}: what is this?',
      'classes': network.class_names,
      'several': bool(network.thresholds),
      'nonce': nonce,
      'most': http_server.MOST_UPLOADED,
    }
    response = flask.make_response(files.render('serve.html', content))
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
    with one_at_a_time:
      try:
        return judged(upload.read())
      except DamagedImageError as error:
        return {'error': f'this picture cannot be used: {error}'}, 400
      finally:
        host_memory.give_back()

  def judged(content: bytes) -> dict[str, Any]:
    image = decode(content, network.preprocessing).pixels
    probabilities = network.probabilities(image[None])[0]
    reasons = explain(image[None], probabilities.argmax(keepdims=True))[0]
    known = neighbors()
    chosen = {name for name, _ in predicted(network, probabilities, 1)}
    return {
      'classes': [
        {'name': name, 'probability': probability, 'chosen': name in chosen}
        for name, probability in ranked(probabilities, network.class_names, 10)
      ],
      'seen': image_utils.data_uri(image),
      'reasons': [image_utils.data_uri(reason) for reason in reasons],
      'nearest': [
        {
          'image': image_utils.data_uri(known.images[place]),
          'name': label_text(known.labels[place], network.class_names),
        }
        for place in known.nearest(image, _NEAREST)
      ]
      if known
      else [],
    }

  @app.errorhandler(413)
  def too_large(_: Any) -> Any:
    return {'error': f'the picture is larger than {http_server.MOST_UPLOADED // 2**20} MiB'}, 413

  return app


def serve(
  network: Classifier,
  split: Split | None,
  count: int,
  host: str,
  port: int,
  names: Collection[str] = (),
) -> None:
  """Serves until Ctrl-C.

  Args:
    split: The training images to compare with, or None.
    count: How many of them are used; 0 for none.
    port: The port to bind to; 0 for any free one.

  Raises:
    UserError: a package is missing, or the port is taken.
  """
  found: list[NearestNeighbors] = []
  app = make_app(network, lambda: found[0] if found else None, host, names)
  server = http_server.make_server(app, host, port)
  if split is not None and count:
    threading.Thread(
      target=lambda: found.append(NearestNeighbors(network, split, count)), daemon=True
    ).start()
  http_server.run(server, host, references.shown(network.run))
