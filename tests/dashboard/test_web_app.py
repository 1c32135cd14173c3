"""What the dashboard's application answers, and what it refuses."""

import json
import re

import numpy as np
import pytest

from cifar_jax import commands
from cifar_jax.dashboard import page, watch
from cifar_jax.run_dir.metric_writers import RunWriter
from tests.helpers import shown_runs

pytest.importorskip('flask')

from cifar_jax.dashboard import web_app


@pytest.fixture
def run(tmp_path):
  return shown_runs.write_run(tmp_path / 'runs' / 'a', 1, evaluate__images_every_epochs=1)


@pytest.fixture
def client(run):
  return web_app.make_app(watch.Watch([run.parent]), '127.0.0.1').test_client()


def test_the_page_and_its_files(client) -> None:
  text = client.get('/').text
  assert text == page.read('dashboard.html')
  for name in (*page.STYLES, *page.SCRIPTS):
    answer = client.get(f'/{name}')
    assert answer.status_code == 200, name
    assert f'"{name}"' in text
    assert answer.mimetype == ('text/css' if name.endswith('css') else 'text/javascript')


def test_what_is_told(client, run) -> None:
  told = client.get('/changes').get_json()
  (entry,) = told['runs']
  assert entry['name'] == 'a'
  assert client.get(f'/changes?since={told["version"]}').get_json()['runs'] == []
  assert client.get(f'/steps/{entry["id"]}').get_json() == {'steps': []}
  with RunWriter(run, [], None, tensorboard=True) as writer:
    batch = np.zeros((1, 2, 2, 3), np.uint8)
    writer.write_images(6, lambda: ({'misclassified': batch}, {}))
  assert client.get(f'/steps/{entry["id"]}').get_json()['steps'][0]['misclassified'] == 1
  image = client.get(f'/image/{entry["id"]}/6/misclassified/0')
  assert (image.status_code, image.mimetype) == (200, 'image/png')
  assert image.data.startswith(b'\x89PNG')


@pytest.mark.parametrize(
  'path',
  [
    *('/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/a/config.json', '/config.json'),
    *('/__init__.py', '/uPlot.sha256', '/steps/..', '/steps/a', '/steps/%2e%2e%2fa'),
    *('/image/../6/misclassified/0', '/image/a/6/misclassified/0', '/image/a/6/..%2f..%2fx/0'),
    *('/image/a/-1/misclassified/0', '/image/a/6/misclassified/-1'),
  ],
)
def test_no_path_leads_to_a_file(client, path) -> None:
  assert client.get(path).status_code == 404


def test_pages_elsewhere_are_refused(client) -> None:
  for path in ('/', '/changes', '/main.js', '/steps/a', '/image/a/6/misclassified/0'):
    for headers in (
      {'Origin': 'https://evil.example'},
      {'Origin': 'null'},
      {'Host': 'evil.example:7870', 'Origin': 'http://evil.example:7870'},
      {'Host': 'evil.example'},
    ):
      answer = client.get(path, headers=headers)
      assert answer.status_code == 403, (path, headers)
      assert '--name=HOST' in answer.text
  assert 'error' in client.get('/changes', headers={'Host': 'evil.example'}).get_json()


def test_nothing_can_be_sent(client) -> None:
  for method in (client.post, client.put, client.delete):
    assert method('/changes', data=b'x').status_code == 405


def test_scripts_and_styles_are_the_page_s_own_files(client) -> None:
  for path in ('/', '/main.js', '/changes', '/nothing'):
    headers = client.get(path).headers
    policy = headers['Content-Security-Policy']
    assert "default-src 'none'" in policy
    assert 'unsafe' not in policy
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert headers['Cache-Control'] == 'no-store'
    assert headers['Referrer-Policy'] == 'no-referrer'
  text = page.read('dashboard.html')
  assert not re.search(r'<script(?! src=)|<style|\sstyle=|\son\w+=', text)
  # No script makes markup of a text.
  own = ''.join(page.read(name) for name in page.SCRIPTS if not name.startswith('uPlot'))
  assert not re.search(
    r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?:', own
  )


def test_wrong_arguments(tmp_path, capsys, monkeypatch) -> None:
  monkeypatch.chdir(tmp_path)
  for arguments, words in (
    ([], 'runs is no folder'),
    (['nowhere'], 'nowhere is no folder'),
    (['.', '--port=70000'], '--port=70000'),
    (['.', '--name=a b'], '--name=a b'),
  ):
    with pytest.raises(SystemExit) as end:
      commands.main(['dashboard', *arguments])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert 'Traceback' not in error


def test_hostile_names_are_told_as_json(tmp_path) -> None:
  """A folder may be called anything, and its config may say anything."""
  name = '<img src=x onerror=alert(1)>'
  tag = '</script><script>alert(1)</script>'
  shown_runs.write_run(tmp_path / name, 1, tags=(tag,))
  app = web_app.make_app(watch.Watch([tmp_path]), '127.0.0.1')
  answer = app.test_client().get('/changes')
  assert answer.mimetype == 'application/json'
  (entry,) = json.loads(answer.text)['runs']
  assert entry['name'] == name
  assert entry['row']['tags'] == tag
