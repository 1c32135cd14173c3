"""Model folders come from the Hugging Face hub and go there: against a stand-in on this machine."""

import pytest

from cifar_jax.data.fetch import download
from cifar_jax.data.fetch.download import Patience as LessPatience
from cifar_jax.run_dir import hub
from cifar_jax.utils.errors import UserError
from tests.helpers.hub_server import COMMIT, Hub, serving

pytest.importorskip('huggingface_hub')

FILES = {'config.json': b'{}', 'about.json': b'{"a": 1}', 'model.safetensors': bytes(1000)}
SECRET = 'hf_secretsecretsecret'


@pytest.fixture
def site(tmp_path, monkeypatch):
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('HF_HUB_DISABLE_PROGRESS_BARS', '1')
  monkeypatch.delenv('HF_TOKEN', raising=False)
  with serving(Hub({'me/net': {**FILES, 'README.md': b'# net'}})) as hub_:
    monkeypatch.setenv('HF_ENDPOINT', hub_.url)
    yield hub_


def contents(folder) -> dict[str, bytes]:
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def left(folder) -> list[str]:
  """What a failure leaves in the cache, beside a lock."""
  return [path.name for path in (folder / 'cache').rglob('*.*') if path.suffix != '.lock']


def test_addresses() -> None:
  assert hub.parse('hub:me/net') == hub.parse('hub:me/net@') == ('me/net', 'main')
  assert hub.parse('hub:me/net@refs/pr/1') == ('me/net', 'refs/pr/1')
  for text in (
    'hub:net',
    'hub:me/../x',
    'hub:me/net@../x',
    'hub:a/b/c',
    'hub:-a/b',
    '',
  ):
    with pytest.raises(UserError, match='is no model on the hub; write hub:OWNER/NAME'):
      hub.parse(text)


def test_known_files_alone_are_downloaded_once_and_serve_without_the_hub(site, capsys) -> None:
  others = {'../../evil.json': b'x', '/etc/evil': b'x', 'model.py': b'x', 'pytorch_model.bin': b'x'}
  site.files['me/net'] |= others
  folder = hub.fetch(hub.parse('hub:me/net'))
  assert contents(folder) == {**FILES, 'README.md': b'# net'}
  assert folder.name == f'net@{COMMIT[:12]}'
  asked = len(site.requests)
  assert not any('evil' in each or 'model.py' in each or '.bin' in each for each in site.requests)
  assert hub.fetch(hub.parse('hub:me/net')) == folder
  assert [each.split('?')[0] for each in site.requests[asked:]] == [
    'GET /api/models/me/net/revision/main'
  ]
  site.status = 503
  assert hub.fetch(hub.parse('hub:me/net')) == folder
  error = capsys.readouterr().err
  assert f'(the server answered 503); try again later; the copy in {folder} is used' in error
  asked = len(site.requests)
  assert hub.fetch(hub.parse(f'hub:me/net@{COMMIT}')) == folder  # nobody is asked
  assert len(site.requests) == asked
  site.status, site.commit = 200, 'd' * 40
  site.files['me/net'] = {**FILES, 'config.json': b'{"new": 1}'}
  assert contents(hub.fetch(hub.parse('hub:me/net')))['config.json'] == b'{"new": 1}'
  assert contents(folder)['config.json'] == b'{}'


@pytest.mark.parametrize(
  ('change', 'text', 'complaint'),
  [
    ({}, 'me/none', 'there is no repository me/none, or it is private and not yours'),
    ({}, 'me/net@nowhere', 'me/net has no revision nowhere'),
    ({'token': SECRET}, 'me/net', r'(there is no repository|the server answered 401)'),
    ({'status': 403}, 'me/net', 'the server answered 403, the token may not do that'),
    ({'status': 500}, 'me/net', r'cannot be read \(the server answered 500\); try again later'),
    ({'commit': '../../x'}, 'me/net', 'the server names no commit'),
    ({'sizes': {'config.json': 2**40}}, 'me/net', 'config.json has 1,099,511,627,776 bytes, more'),
    (
      {'sizes': {'about.json': 5}},
      'me/net',
      r'about.json of .* cannot be downloaded: .* 8 bytes i',
    ),
    ({'sizes': {'about.json': 7}}, 'me/net', r'not of the 7 bytes that the hub says'),
    ({'files': {'me/net': {'model.py': b''}}}, 'me/net', 'it has no config.json, about.json, mod'),
  ],
)
def test_one_sentence_and_nothing_left(site, tmp_path, change, text, complaint) -> None:
  for name, value in change.items():
    setattr(site, name, value)
  with pytest.raises(UserError, match=complaint):
    hub.fetch(hub.parse(text))
  assert left(tmp_path) == []


def test_weights_of_other_software_come_alone(site, tmp_path) -> None:
  weights = FILES['model.safetensors']
  site.files['me/resnet'] = {'config.json': b'{"architecture": 1}', 'model.safetensors': weights}
  file = hub.fetch_weights(hub.parse('hub:me/resnet'))
  assert file.read_bytes() == weights
  assert contents(file.parent) == {'model.safetensors': weights}
  assert hub.name_of(file.parent) is None
  with pytest.raises(UserError, match=r'is no model folder of cifar_jax: it has no about\.json'):
    hub.fetch(hub.parse('hub:me/resnet'))
  with pytest.raises(UserError, match='me/net@main is a model folder, which needs no import'):
    hub.fetch_weights(hub.parse('hub:me/net'))
  site.files['me/pickled'] = {'pytorch_model.bin': weights}
  with pytest.raises(UserError, match=r'me/pickled@main has no model\.safetensors; download the'):
    hub.fetch_weights(hub.parse('hub:me/pickled'))
  site.sizes['model.safetensors'] = 2**40
  site.commit = '1234567'
  with pytest.raises(UserError, match=r'is not downloaded: its model\.safetensors has'):
    hub.fetch_weights(hub.parse('hub:me/resnet'))
  site.status = 500  # what came stays, and serves without the hub
  assert hub.fetch_weights(hub.parse('hub:me/resnet')) == file


def test_nobody_answers(site, monkeypatch) -> None:
  monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
  with pytest.raises(UserError, match=r'hub:me/net@main cannot be read \(.*; try again later'):
    hub.fetch(hub.parse('hub:me/net'))


def test_a_download_that_breaks_off_is_an_error_and_starts_again(
  site, tmp_path, monkeypatch
) -> None:
  monkeypatch.setattr(download, 'Patience', lambda: LessPatience(pause=0.0, tries=2))
  site.cut = 500
  complaint = r'model\.safetensors of hub:me/net@main cannot be downloaded: 127.* broke off; try'
  with pytest.raises(UserError, match=complaint):
    hub.fetch(hub.parse('hub:me/net'))
  assert left(tmp_path) == []
  site.cut = None
  assert contents(hub.fetch(hub.parse('hub:me/net')))['model.safetensors'] == bytes(1000)


def test_what_a_killed_process_left_is_gone_on_with(site, tmp_path) -> None:
  draft = tmp_path / 'cache' / 'hub' / 'me' / f'.net@{COMMIT[:12]}.partial'
  draft.mkdir(parents=True)
  (draft / 'config.json').write_bytes(FILES['config.json'])
  (draft / 'model.safetensors.part').write_bytes(b'of another version')
  folder = hub.fetch(hub.parse('hub:me/net'))
  assert contents(folder) == {**FILES, 'README.md': b'# net'}
  assert not any('config.json' in each for each in site.requests)
  assert not draft.exists()


def test_whoever_is_logged_in_reads_what_is_private(site, monkeypatch) -> None:
  site.token = SECRET
  monkeypatch.setenv('HF_TOKEN', SECRET)
  assert len(contents(hub.fetch(hub.parse('hub:me/net')))) == 4
  assert site.tokens == {SECRET}


def test_the_token_goes_to_no_other_host(site, monkeypatch) -> None:
  monkeypatch.setenv('HF_TOKEN', SECRET)
  with serving(Hub(site.files)) as store:
    site.elsewhere = store.url
    assert contents(hub.fetch(hub.parse('hub:me/net')))['model.safetensors'] == bytes(1000)
  assert (site.tokens, store.tokens) == ({SECRET}, {''})


@pytest.mark.filterwarnings('ignore:Use .content=:DeprecationWarning')  # of the library
def test_a_model_folder_is_uploaded_with_its_known_files_alone(site, tmp_path, monkeypatch) -> None:
  folder = tmp_path / 'model'
  (folder / 'report').mkdir(parents=True)
  for name, content in {**FILES, 'notes.txt': b'mine', 'report/index.html': b'x'}.items():
    (folder / name).write_bytes(content)
  address = hub.parse('me/new')
  with pytest.raises(UserError, match=r'no token of the hub: set \$HF_TOKEN'):
    hub.push(folder, address, private=True)
  assert site.requests == []
  monkeypatch.setenv('HF_TOKEN', SECRET)
  monkeypatch.setattr('huggingface_hub.constants.HF_HUB_DISABLE_XET', True)
  site.large = ('model.safetensors',)  # as the hub takes what is no text
  assert hub.push(folder, address, private=True) == f'{site.url}/me/new/commit/{COMMIT}'
  assert list(site.stored.values()) == [FILES['model.safetensors']]
  assert site.created == {'me/new': True}
  assert site.files['me/new'] == FILES
  assert site.tokens == {SECRET}
  site.token = 'another'
  with pytest.raises(UserError, match='cannot be uploaded to me/new') as caught:
    hub.push(folder, address, private=False)
  assert SECRET not in str(caught.value)
  assert hub.files_of(folder) == {name: len(content) for name, content in FILES.items()}
  (folder / 'about.json').unlink()
  with pytest.raises(UserError, match='is no model folder: it has no about'):
    hub.files_of(folder)
