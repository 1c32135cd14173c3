"""The class tree out of a flat folder, and that nothing else is ever removed."""

import os
import pathlib

import pytest

from cifar_jax import commands
from cifar_jax.data.image_folder.organize import organize, read_patterns
from cifar_jax.utils.errors import UserError

PATTERNS = {'cats': r'^cat\.', 'dogs': r'^dog\.'}


@pytest.fixture
def flat(tmp_path) -> pathlib.Path:
  folder = tmp_path / 'flat'
  folder.mkdir()
  for number in range(10):
    for animal in ('cat', 'DOG'):
      (folder / f'{animal}.{number}.jpg').write_text(f'{animal} {number}')
  (folder / 'horse.1.jpg').write_text('horse')
  (folder / 'cat.txt').write_text('no image')
  return folder


def tree(out: pathlib.Path) -> set[str]:
  return {str(path.relative_to(out)) for path in out.rglob('*.jpg')}


def test_every_image_once_in_its_class(flat, tmp_path) -> None:
  made = organize(flat, tmp_path / 'out', PATTERNS)
  assert sum(made.counts['train'].values()) == 16
  assert sum(made.counts['validation'].values()) == 4
  assert made.unmatched == ('horse.1.jpg',)
  assert made.left_out == 0
  names = sorted(path.rpartition('/')[2] for path in tree(tmp_path / 'out'))
  assert names == sorted(f'{a}.{n}.jpg' for a in ('cat', 'DOG') for n in range(10))
  for path in tree(tmp_path / 'out'):
    animal = {'cats': 'cat', 'dogs': 'DOG'}[path.split('/')[1]]
    assert (tmp_path / 'out' / path).read_text().startswith(animal)
  assert len(list(flat.iterdir())) == 22


def test_count_and_seed(flat, tmp_path) -> None:
  trees = []
  for number, seed in enumerate([0, 0, 1]):
    made = organize(flat, tmp_path / str(number), PATTERNS, count=10, ratio=0.3, seed=seed)
    assert sum(made.counts['validation'].values()) == 3
    assert made.left_out == 10
    trees.append(tree(tmp_path / str(number)))
  assert trees[0] == trees[1] != trees[2]


@pytest.mark.parametrize('how', ['copy', 'link', 'symlink'])
def test_again_removes_its_own_files_only(flat, tmp_path, how) -> None:
  out = tmp_path / 'out'
  organize(flat, out, PATTERNS, how=how)
  (out / 'train' / 'cats' / 'mine.jpg').write_text('mine')
  (out / 'notes').mkdir()
  made = organize(flat, out, PATTERNS, seed=3, how=how)
  assert made.removed == 20
  after = tree(out)
  assert (out / 'train' / 'cats' / 'mine.jpg').read_text() == 'mine'
  assert (out / 'notes').is_dir()
  assert len(after) == 21
  assert (flat / 'cat.0.jpg').read_text() == 'cat 0'
  sample = next(path for path in out.rglob('cat.*.jpg'))
  assert sample.is_symlink() == (how == 'symlink')
  assert (os.stat(sample).st_ino == os.stat(flat / sample.name).st_ino) == (how != 'copy')


def test_a_file_in_the_way_stops_everything(flat, tmp_path) -> None:
  out = tmp_path / 'out'
  organize(flat, out, PATTERNS)
  before = tree(out)
  mine = [out / 'validation' / 'cats' / f'cat.{number}.jpg' for number in range(10)]
  mine = [path for path in mine if not path.exists()]
  for path in mine:
    path.write_text('not made here')
  with pytest.raises(UserError, match=r'was not made by this command, .*nothing was changed'):
    organize(flat, out, PATTERNS, ratio=0.8)  # 16 of 20 for validation
  assert before <= tree(out)
  assert all(path.read_text() == 'not made here' for path in mine)


def test_a_forged_list_reaches_no_other_folder(flat, tmp_path) -> None:
  out = tmp_path / 'out'
  organize(flat, out, PATTERNS)
  precious = tmp_path / 'precious.jpg'
  precious.write_text('x')
  with open(out / '.made_by_organize', 'a') as record:
    record.write(f'\0../precious.jpg\0{precious}')
  organize(flat, out, PATTERNS)
  assert precious.exists()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'patterns': {'cats': 'cat', 'dogs': 'wolf'}}, 'dogs=wolf fits none of the 21 images'),
    ({'patterns': {'a': 'cat', 'b': '('}}, r'b=\(: no regular expression'),
    ({'patterns': {'../a': 'cat'}}, 'cannot be the name of a class folder'),
    ({'count': 21}, '--count=21 is more than the 20 images'),
    ({'count': 2, 'ratio': 0.5}, 'would be empty'),
    ({'ratio': 1.0}, '--ratio=1.0 must be between 0 and 1'),
    ({'flat': pathlib.Path('/no/where')}, 'is no folder'),
  ],
)
def test_mistakes(flat, tmp_path, changes, message) -> None:
  arguments = {'flat': flat, 'out': tmp_path / 'out', 'patterns': PATTERNS, **changes}
  with pytest.raises(UserError, match=message):
    organize(**arguments)
  assert not (tmp_path / 'out').exists()


def test_command(flat, tmp_path, capsys) -> None:
  out = tmp_path / 'out'
  classes = ['--class', 'cats=^cat', '--class', 'dogs=^dog']
  commands.main(['data', 'organize', str(flat), str(out), *classes, '--ratio=0.5'])
  printed = capsys.readouterr().out
  assert f'{out}/train: ' in printed
  assert '1 images fit no class, or more than one, such as horse.1.jpg' in printed
  assert f'--config.data.dir={out}' in printed
  with pytest.raises(UserError, match='write each class once'):
    read_patterns(['cats'])
