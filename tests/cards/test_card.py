"""Model cards: metadata that the hub reads, numbers of the run, and files that cannot write on."""

import json
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.cards import card, facts, markdown
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.utils.errors import UserError
from cifar_jax.zoo import entries
from tests.helpers.mutations import mutated
from tests.helpers.only_user_errors import only_user_errors

EVIL = [
  '](https://evil.example) <script>alert(1)</script>',
  '# title\n---\nlicense: evil\n---\n![x](y)',
  '| a | b |\n```sh\nrm -rf /\n```',
  '- https://evil.example @someone `code` $x$ &lt; *a* _b_ ~c~ www.evil.example',
]


def head_of(text: str) -> dict:
  match = re.match(r'---\n(.*?)\n---\n', text, re.DOTALL)
  assert match
  return yaml.safe_load(match[1])


def test_the_card_of_a_run_has_its_numbers(tiny_run) -> None:
  text, summary = card.of_run(tiny_run), run_files.read_summary(tiny_run)
  head = head_of(text)
  assert head['license'] == 'unknown'
  assert head['library_name'] == 'cifar_jax'
  assert {'image-classification', 'jax', 'conv_net', 'small', 'first'} == {*head['tags']} - {'flax'}
  assert 'datasets' not in head  # 'tiny' is none of the hub's
  (result,) = head['model-index'][0]['results']
  values = {metric['type']: metric['value'] for metric in result['metrics']}
  assert values['accuracy'] == pytest.approx(summary['test_accuracy'], abs=1e-6)
  assert values['loss'] == pytest.approx(summary['test_loss'], abs=1e-6)
  assert f'| {100 * summary["test_accuracy"]:.2f} % |' in text
  assert 'config.batch_size = 45\n' in text
  assert 'config.model.widths = (4, 8)\n' in text
  assert 'config.loss' not in text  # as the defaults have it
  assert str(tiny_run.parent) not in text
  for title in ('Numbers', 'Use', 'Data', 'Recipe', 'Limits'):
    assert f'\n## {title}\n' in text


def test_the_card_of_a_run_of_an_old_version(tiny_run, tmp_path) -> None:
  """It has no about.json, and began with a run somewhere on its machine."""
  run = tmp_path / 'old'
  shutil.copytree(tiny_run, run)
  (run / 'about.json').unlink()
  config = json.loads((run / 'config.json').read_text())
  (run / 'config.json').write_text(json.dumps({**config, 'init_from': '/home/me/runs/first'}))
  text = card.of_run(run)
  assert '/home/me' not in text
  assert f'{100 * run_files.read_summary(run)["test_accuracy"]:.2f} % |' in text
  assert ' 0 images' not in text
  assert 'None' not in text


def test_the_hub_reads_the_metadata() -> None:
  hub = pytest.importorskip('huggingface_hub')
  read = hub.ModelCard(card.of_run(entries.find('fast90')))
  assert read.data.license == 'apache-2.0'
  assert read.data.datasets == ['uoft-cs/cifar10']
  accuracy, _ = read.data.eval_results
  assert accuracy.metric_type == 'accuracy'
  assert accuracy.dataset_split == 'test'
  expected, *_ = facts.read(entries.find('fast90') / 'card.json')['results']
  assert accuracy.metric_value == expected['accuracy']
  assert read.data.model_name == 'fast90'


def test_readme_of_an_entry_is_its_card() -> None:
  """python -m cifar_jax card zoo:NAME > cifar_jax/zoo/NAME/README.md makes it so again."""
  for name in entries.names():
    folder = entries.find(name)
    assert (folder / 'README.md').read_text('utf-8') == card.of_run(folder), name


@pytest.mark.parametrize('evil', EVIL)
def test_what_comes_from_files_cannot_write_on(tiny_run, tmp_path, evil) -> None:
  run = tmp_path / 'run'
  shutil.copytree(tiny_run, run)
  for name, change in (
    ('about.json', {'class_names': [evil, 'b', 'c', 'd'], 'data': evil, 'split_note': evil}),
    ('summary.json', {'command': f'launch.py {evil}', 'jax': evil, 'processor': evil}),
    ('config.json', {'tags': [evil]}),
  ):
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**content, **change}))
  text = card.of_run(run)
  _, body = text.split('\n---\n', 1)
  assert head_of(text)['license'] == 'unknown'
  assert head_of(text)['tags'][-1] == evil
  plain = without_code(body)
  assert not re.search(r'(?<!\\)[<>]|(?<!\\)\]\(|(?<!\\)`|https://|(?<!\\)@', plain), plain
  assert [line for line in plain.splitlines() if line.startswith('#')] == [
    '# run',
    *(f'## {title}' for title in ('Numbers', 'Use', 'Data', 'Recipe', 'Limits')),
  ]
  assert not re.search(r'^\s*[-=]{2,}\s*$', plain, re.MULTILINE)


def without_code(text: str) -> str:
  """Markdown without its code, as CommonMark finds it: fences first, then spans of n ticks."""
  lines, fence = [], ''
  for line in text.splitlines():
    match = re.match(r'(`{3,})([^`]*)$', line)
    if fence:
      fence = '' if match and len(match[1]) >= len(fence) and not match[2].strip() else fence
    elif match:
      fence = match[1]
    else:
      lines.append(line)
  assert not fence
  return re.sub(r'(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)', 'CODE', '\n'.join(lines))


def test_code_and_fences_are_longer_than_what_is_in_them() -> None:
  assert markdown.code('a``b') == '``` a``b ```'
  assert markdown.code('a') == '`a`'
  assert markdown.block('```\nx', 'sh') == '````sh\n```\nx\n````'
  assert markdown.escaped('a*b\n# c') == r'a\*b # c'
  assert markdown.escaped('# c - d') == r'\# c - d'


@pytest.mark.parametrize(
  ('command', 'kept'),
  [
    (
      'launch.py --config=configs/a.py --workdir=/tmp/x --config.data.dir=/data --config.seed=3',
      'launch.py --config=configs/a.py --config.seed=3',
    ),
    (
      '/home/me/launch.py --config /home/me/clone/configs/a.py --workdir /tmp/x --progress lines',
      'launch.py --config configs/a.py',
    ),
    (
      "launch.py --config=~/mine.py '--config.model.widths=(32, 64)' --config.init_from=/tmp/r/run",
      "launch.py --config=mine.py '--config.model.widths=(32, 64)' --config.init_from=run",
    ),
    (r'launch.py "--config=C:\me\configs\a.py"', 'launch.py --config=configs/a.py'),
  ],
)
def test_commands_without_paths(command, kept) -> None:
  assert facts.without_paths(command) == kept


def test_the_command_writes_the_card_with_pictures(tiny_run, tmp_path, capsys) -> None:
  pytest.importorskip('matplotlib')
  out = tmp_path / 'card'
  commands.main(['card', str(tiny_run), f'--out={out}', '--license=mit'])
  assert str(out / 'README.md') in capsys.readouterr().out
  text = (out / 'README.md').read_text('utf-8')
  assert head_of(text)['license'] == 'mit'
  assert '](curves.png)' in text
  assert (out / 'curves.png').read_bytes()[:4] == b'\x89PNG'
  commands.main(['card', str(tiny_run)])
  assert '](curves.png)' not in capsys.readouterr().out


def test_what_is_not_known_is_not_said(tmp_path) -> None:
  """An imported model, of which there is neither summary nor history."""
  model_folder.write(
    tmp_path / 'mine',
    config=configs.get_config().lock(),
    about={'class_names': ['a', 'b'], 'image_shape': [2, 2, 1]},
    variables={'params': {}},
  )
  text = card.of_run(tmp_path / 'mine')
  assert 'Not measured yet' in text
  assert 'model-index' not in head_of(text)
  assert 'None' not in text
  with pytest.raises(UserError, match='is not the folder of a run'):
    card.of_run(tmp_path)


@pytest.mark.parametrize('count', [40, pytest.param(300, marks=pytest.mark.thorough)])
def test_damaged_facts_get_a_sentence(tmp_path, count) -> None:
  folder = tmp_path / 'fast90'
  shutil.copytree(entries.find('fast90'), folder)
  content = (folder / 'card.json').read_bytes()
  refused = 0
  for changed in mutated(content, count, 0):
    (folder / 'card.json').write_bytes(changed)
    refused += 1
    with only_user_errors(str(folder)):
      card.of_run(folder)
      refused -= 1
  assert refused > count // 3


def test_values_of_another_type_are_named(tmp_path: pathlib.Path) -> None:
  folder = tmp_path / 'fast90'
  shutil.copytree(entries.find('fast90'), folder)
  content = json.loads((folder / 'card.json').read_text())
  for change, said in (
    ({'format': 99}, 'its format is 99'),
    ({'weights': []}, 'weights is '),
    ({'results': {}}, 'results is '),
    ({'results': [{'accuracy': 'high'}]}, 'accuracy is '),
    ({'remarks': [3]}, 'a remark is '),
    ({'parameters': True}, 'parameters is '),
    ({'trained': {'seconds': '3'}}, 'seconds is '),
    ({'parameters': 10**400}, 'parameters is '),
    ({'results': [{'accuracy': float('nan')}]}, 'accuracy is '),
  ):
    (folder / 'card.json').write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match=f'card.json is damaged .*{said}'):
      card.of_run(folder)


def test_null_is_what_is_not_known(tmp_path: pathlib.Path) -> None:
  """Each value, at any depth: none of them is spoken of, and nothing stops."""
  folder = tmp_path / 'fast83'
  shutil.copytree(entries.find('fast83'), folder)
  path = folder / 'card.json'
  content = json.loads(path.read_text())
  del content['format']

  def without(value: Any) -> Iterator[Any]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
      yield changed(value, key, None)
      if isinstance(inner, dict | list):
        yield from (changed(value, key, each) for each in without(inner))

  def changed(value: Any, key: Any, new: Any) -> Any:
    return (
      {**value, key: new} if isinstance(value, dict) else [*value[:key], new, *value[key + 1 :]]
    )

  for each in without(content):
    path.write_text(json.dumps({'format': 1, **each}))
    with only_user_errors(str(folder)):
      assert 'None' not in card.of_run(folder)
