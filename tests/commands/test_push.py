"""A run goes to the hub and comes back as the same network: against a stand-in on this machine."""

import hashlib
import json
import pathlib
import shutil

import pytest

from cifar_jax import commands
from cifar_jax.cards import facts, share
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import hub, model_folder, references, run_files
from cifar_jax.utils.errors import UserError
from cifar_jax.zoo import entries
from tests.helpers.hub_server import Hub, serving

pytest.importorskip('huggingface_hub')
pytest.importorskip('matplotlib')

SECRET = 'hf_secretsecretsecret'


@pytest.fixture
def site(tmp_path, monkeypatch):
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('HF_TOKEN', SECRET)
  monkeypatch.chdir(tmp_path)
  with serving(Hub({})) as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    yield hub


def test_there_and_back(site, tiny_run, tiny_data, tmp_path, capsys) -> None:
  words = ['push', str(tiny_run), '--repo=me/tiny', '--private', '--license=mit']
  commands.main([*words, '--dry_run'])
  out, err = capsys.readouterr()
  assert f'to          {site.url}/me/tiny (private, if it is new)' in out
  assert out.endswith('nothing was uploaded\n')
  assert site.requests == []
  commands.main(words)
  out, err = capsys.readouterr()
  assert f'look at     {site.url}/me/tiny/commit/{site.commit}\nuse it as   hub:me/tiny\n' in out
  assert SECRET not in out + err
  assert site.created == {'me/tiny': True}
  there = site.files['me/tiny']
  wanted = ('config.json', 'about.json', 'model.safetensors', 'card.json', 'README.md')
  assert set(there) == {*wanted, 'metrics.csv', 'curves.png'}
  for name in wanted:
    assert str(tiny_data).encode() not in there[name]
    assert str(tmp_path).encode() not in there[name]
  assert b'license: mit' in there['README.md']
  assert b'hub:me/tiny' in there['README.md']
  assert json.loads(there['card.json'])['license'] == 'mit'
  # Whoever takes it from there has the same network.
  run = references.resolve('hub:me/tiny')
  expected = evaluate(tiny_run)
  assert evaluate(run, data_dir=str(tiny_data)) == expected
  assert references.shown(run) == 'hub:me/tiny'
  assert references.report_folder(run) == pathlib.Path('reports/hub_me_tiny')


def test_mistakes_are_one_sentence(site, tiny_run, tmp_path, capsys, monkeypatch) -> None:
  unfinished = shutil.copytree(tiny_run, tmp_path / 'run')
  (unfinished / 'summary.json').unlink()
  for words, complaint in (
    (['push', str(tiny_run), '--repo=tiny'], 'is no model on the hub; write hub:OWNER/NAME'),
    (['push', str(unfinished), '--repo=me/tiny'], 'has not finished; what is shared is a finished'),
    (['evaluate', 'hub:me/none'], 'there is no repository me/none, or it is private and not yours'),
  ):
    with pytest.raises(SystemExit) as caught:
      commands.main(words)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert complaint in error
    assert SECRET not in error
  site.token = 'another'
  with pytest.raises(SystemExit):
    commands.main(['push', str(tiny_run), '--repo=me/tiny'])
  assert 'the model cannot be uploaded to me/tiny' in capsys.readouterr().err
  monkeypatch.setenv('HF_TOKEN', 'hf_Schlüssel')
  with pytest.raises(SystemExit):
    commands.main(['push', str(tiny_run), '--repo=me/tiny'])
  assert 'has a letter that none has' in capsys.readouterr().err
  assert site.files == {}


def test_the_card_speaks_of_the_weights_that_go(tiny_run, tmp_path) -> None:
  """Numbers of the last update stand beside no other weights, a new license is in both files."""
  address = hub.parse('me/tiny')
  _, best = model_folder.read_variables(tiny_run, 'best')
  assert best < run_files.read_summary(tiny_run)['steps']
  share.prepare(tiny_run, tmp_path / 'earlier', address, 'best')
  known = facts.read(tmp_path / 'earlier' / 'card.json')
  assert 'results' not in known
  assert facts.measured_on_test(tmp_path / 'earlier') == {}
  assert 'Not measured yet' in (tmp_path / 'earlier' / 'README.md').read_text('utf-8')
  half = tmp_path / 'half'
  share.prepare(tiny_run, half, address, dtype='float16')
  (result,) = facts.read(half / 'card.json')['results']
  assert result['of'].endswith(', before its parameters were rounded to float16')
  content = (half / 'model.safetensors').read_bytes()
  assert facts.read(half / 'card.json')['weights']['sha256'] == hashlib.sha256(content).hexdigest()
  # A model folder goes as it is.
  share.prepare(half, tmp_path / 'same', address)
  for path in half.iterdir():
    assert (tmp_path / 'same' / path.name).read_bytes() == path.read_bytes()
  share.prepare(half, tmp_path / 'mit', address, license_id='mit')
  assert facts.read(tmp_path / 'mit' / 'card.json')['license'] == 'mit'
  assert (tmp_path / 'mit' / 'README.md').read_text('utf-8').startswith('---\nlicense: mit\n')
  with pytest.raises(UserError, match='weights are uploaded as they are: no --dtype'):
    share.prepare(half, tmp_path / 'other', address, dtype='float32')
  with pytest.raises(UserError, match='there is no --checkpoint=best2'):
    share.prepare(half, tmp_path / 'other', address, 'best2')
  assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize('name', ['config.json', 'about.json', 'model.safetensors', 'card.json'])
def test_a_damaged_model_folder_is_not_shared(site, tmp_path, capsys, name) -> None:
  folder = shutil.copytree(entries.find('quickstart'), tmp_path / 'model')
  content = (folder / name).read_bytes()
  (folder / name).write_bytes(content[: len(content) // 2])
  with pytest.raises(SystemExit):
    commands.main(['push', str(folder), '--repo=me/tiny'])
  assert f'{name} is ' in capsys.readouterr().err
  assert site.requests == []
