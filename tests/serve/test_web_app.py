"""The web page of a run: what it answers, what it refuses, and how it works in a browser."""

import dataclasses
import io
import pathlib
import threading

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.predict import classifier
from tests.helpers.webdriver import Driver, needs_driver

pytest.importorskip('flask')
Image = pytest.importorskip('PIL.Image')
pytest.importorskip('matplotlib')

from cifar_jax.serve import web_app  # noqa: E402
from cifar_jax.web import http_server  # noqa: E402


def png(image: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, 'PNG')
  return buffer.getvalue()


@pytest.fixture(scope='module')
def network(tiny_run):
  return classifier.load(tiny_run)


@pytest.fixture(scope='module')
def train(network):
  return data.load_splits(network.config).train


@pytest.fixture(scope='module')
def app(network, train):
  neighbors = web_app.NearestNeighbors(network, train, 50)
  return web_app.make_app(network, lambda: neighbors, '127.0.0.1')


@pytest.fixture
def client(app):
  return app.test_client()


def test_a_training_image_is_its_own_nearest(client, network, train) -> None:
  content = png(train.images[7])
  answer = client.post('/predict', data={'image': (io.BytesIO(content), '../../x.png')})
  assert answer.status_code == 200
  found = answer.get_json()
  expected = network.probabilities(train.images[7:8])[0]
  assert [each['name'] for each in found['classes']] == [
    network.class_names[place] for place in np.argsort(-expected)
  ]
  assert found['classes'][0]['probability'] == pytest.approx(expected.max(), rel=1e-5)
  assert found['nearest'][0]['image'] == found['seen']
  assert len(found['nearest']) == 6
  assert len(found['reasons']) == 2


@pytest.mark.parametrize(
  ('data', 'status', 'word'),
  [
    ({'image': (io.BytesIO(b'no picture'), 'x.png')}, 400, 'no picture'),
    ({'image': (io.BytesIO(b''), 'x.png')}, 400, 'cannot be used'),
    ({}, 400, 'no picture was sent'),
  ],
)
def test_what_cannot_be_used(client, data, status, word) -> None:
  answer = client.post('/predict', data=data)
  assert answer.status_code == status
  assert word in answer.get_json()['error']


def test_uploads_are_limited(client) -> None:
  content = bytes(http_server.MOST_IN_BODY + 1)
  kind = 'multipart/form-data; boundary=x'
  answer = client.post('/predict', data=content, content_type=kind)
  assert answer.status_code == 413
  assert 'larger than 16 MiB' in answer.get_json()['error']


@pytest.mark.parametrize(
  'path',
  ['/../../etc/passwd', '/static/../serve.py', '/%2e%2e/%2e%2e/etc/passwd', '/report/base.html'],
)
def test_no_path_leads_to_a_file(client, path) -> None:
  assert client.get(path).status_code == 404


def test_pages_elsewhere_are_refused(client, train) -> None:
  """Another page could send pictures, and read answers if its name were made to point here."""
  for headers, status in (
    ({}, 200),
    ({'Origin': 'http://localhost'}, 200),
    ({'Origin': 'https://evil.example'}, 403),
    ({'Origin': 'null'}, 403),
    ({'Host': 'evil.example:7860', 'Origin': 'http://evil.example:7860'}, 403),
  ):
    data = {'image': (io.BytesIO(png(train.images[7])), 'x.png')}
    assert client.post('/predict', data=data, headers=headers).status_code == status, headers
  assert client.get('/', headers={'Host': 'evil.example:7860'}).status_code == 403


def test_a_refused_page_says_what_to_do(network, client, train) -> None:
  """Behind a proxy the page came and its script was told that the server did not answer."""
  by_name = {'Host': 'cats.example'}
  by_proxy = {'Origin': 'https://cats.example'}  # the Host is that of the proxy: localhost

  def ask(of, headers):
    data = {'image': (io.BytesIO(png(train.images[7])), 'x.png')}
    return of.post('/predict', data=data, headers=headers)

  named = web_app.make_app(network, lambda: None, '127.0.0.1', {'cats.example'}).test_client()
  for headers in (by_name, by_proxy):
    refused = ask(client, headers)
    assert refused.status_code == 403
    assert '--name=HOST' in refused.get_json()['error']
    assert 'IP address' in refused.get_json()['error']
    assert ask(named, headers).get_json()['classes']
  assert '--name=HOST' in client.get('/', headers=by_name).text
  assert named.get('/', headers=by_name).status_code == 200


def test_pictures_stay_in_memory(client, monkeypatch) -> None:
  """Forms with files above 500 kB went through a temporary file."""
  pytest.importorskip('werkzeug.formparser')
  monkeypatch.setattr(
    'werkzeug.formparser.SpooledTemporaryFile', lambda *_, **__: pytest.fail('a file was written')
  )
  noise = png(np.random.default_rng(0).integers(0, 256, (700, 700, 3)).astype(np.uint8))
  assert len(noise) > 2**20
  head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
  answer = client.post(
    '/predict',
    data=head + noise + b'\r\n--x--\r\n',
    content_type='multipart/form-data; boundary=x',
  )
  assert answer.status_code == 200


def test_what_comes_from_the_data_is_escaped(network) -> None:
  """Names of classes and of the folder of a run are text."""
  hostile = '</title><script>alert(1)</script>'
  odd = dataclasses.replace(
    network, class_names=(hostile, '"><img src=x>', 'é', '猫'), run=pathlib.Path('<b>run</b>')
  )
  text = web_app.make_app(odd, lambda: None, '127.0.0.1').test_client().get('/').text
  assert '<script>alert' not in text
  assert '<img src=x>' not in text
  assert '<b>run' not in text
  assert '猫' in text


def test_scripts_from_elsewhere_are_forbidden(client) -> None:
  policy = client.get('/').headers['Content-Security-Policy']
  assert "default-src 'none'" in policy
  assert 'unsafe-inline' not in policy.split('style-src')[0]


@needs_driver
@pytest.mark.slow
@pytest.mark.parametrize(('width', 'dark'), [(375, True), (1200, False)])
def test_a_real_upload_in_a_browser(app, train, tmp_path, width, dark) -> None:
  waitress = pytest.importorskip('waitress')
  server = waitress.create_server(app, host='127.0.0.1', port=0)
  threading.Thread(target=server.run, daemon=True).start()
  (tmp_path / 'picture.png').write_bytes(png(train.images[3]))
  (tmp_path / 'notes.txt').write_text('no picture')
  try:
    with Driver(width, dark) as driver:
      driver.open(f'http://127.0.0.1:{server.effective_port}/')
      driver.upload('input[type=file]', tmp_path / 'picture.png')
      driver.wait('!document.getElementById("result").hidden')
      assert driver.run('document.querySelectorAll("#bars .bar").length') == 4
      assert driver.run('document.querySelectorAll("#nearest img").length') == 6
      missing = '[...document.images].filter(each => each.complete && !each.naturalWidth).length'
      assert driver.run(missing) == 0
      assert driver.run('document.documentElement.scrollWidth') <= width
      driver.screenshot(tmp_path / 'page.png')
      driver.upload('input[type=file]', tmp_path / 'notes.txt')
      driver.wait('document.getElementById("note").textContent.includes("no picture")')
  finally:
    server.close()
