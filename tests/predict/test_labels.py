"""predict --labels: what images show, by their folders or a table, against what is predicted."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cifar_jax import commands
from cifar_jax.predict import labels
from cifar_jax.utils.errors import UserError
from tests.helpers.picture_files import write_tree

OURS = ('cat', 'dog', 'owl', 'emu')


def test_folders_say_it() -> None:
  names = ['photos/cat/1.jpg', 'photos/Dog/1.jpg', '-', 'https://example.org/cat/1.jpg']
  found = labels.read(names, '', OURS, 'Dog=dog')
  assert found.of_image == {'photos/cat/1.jpg': 'cat', 'photos/Dog/1.jpg': 'dog'}
  with pytest.raises(UserError, match=r'folder of images has the classes Dog, cat, but .* cat'):
    labels.read(names, '', OURS)
  found = labels.read(names, '', OURS, skip_unknown=True)
  assert found.of_image == {'photos/cat/1.jpg': 'cat', 'photos/Dog/1.jpg': None}
  with pytest.raises(UserError, match='says of no image what it shows; give a CSV file'):
    labels.read(['-'], '', OURS)


def test_a_table_says_it_by_path_name_or_stem(tmp_path) -> None:
  table = tmp_path / 'labels.csv'
  names = ['x/a/1.png', 'x/b/1.png', 'x/b/2.png', 'y/3.jpeg', 'https://example.org/4.jpg']
  table.write_text('file,label\na/1.png,cat\n../x/b/1.png,dog\n2,emu\nnone.png,cat\n4.jpg,owl\n')
  found = labels.read(names, str(table), OURS)
  expected = {names[0]: 'cat', names[1]: 'dog', names[2]: 'emu', names[4]: 'owl'}
  assert (found.of_image, found.unused) == (expected, 1)
  table.write_text('3.jpeg,dog\n')  # without a header
  assert labels.read(names, str(table), OURS).of_image == {'y/3.jpeg': 'dog'}
  for content, complaint in (
    ('file,label\n1.png,cat\n', r"line 2: '1\.png' may be x/a/1\.png or x/b/1\.png; write its fo"),
    ('file,label\n2.png,cat\nb/2.png,dog\n', r"line 3: x/b/2\.png is 'dog', but 'cat' in line 2"),
    ('file,label\n2.png,kat\n', r'--classes=kat=cat'),
    ('file,label\n9.png,cat\n', 'says of no image what it shows'),
    ('file,cat,dog\n2.png,0,1\n', 'a column for each label; give a table with one column'),
    ('file,size\n2.png,3\n', 'none of which holds labels'),
    ('nothing', 'names no column of image files'),
  ):
    table.write_text(content)
    with pytest.raises(UserError, match=complaint):
      labels.read(names, str(table), OURS)
  with pytest.raises(UserError, match='is a folder; write --labels after the images'):
    labels.read(names, str(tmp_path), OURS)


def test_the_summary_counts_as_scikit_learn() -> None:
  generator = np.random.default_rng(0)
  truth, answers = generator.choice(OURS[:3], 60), generator.choice(OURS, 60)
  names = [f'{label}/{number}.png' for number, label in enumerate(truth)]
  predicted = dict(zip(names, answers, strict=True))
  lines = labels.summary(labels.read(names, '', OURS), {**predicted, 'x.png': 'cat'})
  accuracy = accuracy_score(truth, answers)
  assert lines[0] == f'accuracy {100 * accuracy:.2f} %: {round(60 * accuracy)} of 60 images right'
  assert lines[1:3] == [
    'classes  3 classes, matched by name',
    '1 images without a label of the run are not counted',
  ]
  rows = [line.split()[:5] for line in lines[4:]]
  precision, recall, _, support = precision_recall_fscore_support(
    truth, answers, labels=OURS, zero_division=0
  )
  for row, name, *numbers in zip(rows, OURS, precision, recall, support, strict=True):
    assert (row[0], int(row[1])) == (name, numbers[2])
    shown = '-' if name == 'emu' else f'{100 * numbers[1]:.2f}'
    assert row[3:5] == [shown, f'{100 * numbers[0]:.2f}']


def test_the_command(tiny_run, tmp_path, capsys) -> None:
  run = shutil.copytree(tiny_run, tmp_path / 'run')
  about = json.loads((run / 'about.json').read_text())
  (run / 'about.json').write_text(json.dumps({**about, 'class_names': list(OURS)}))
  photos = write_tree(tmp_path / 'photos', {'dog': 3, 'cats': 2, 'zebra': 1})
  words = ['predict', str(run), str(photos), '--top=1']
  options = ['--labels', '--classes=cats=cat', '--skip_unknown_classes']
  commands.main([*words, *options, '--format=csv'])
  out, err = capsys.readouterr()
  rows = list(csv.DictReader(io.StringIO(out)))
  assert [row['label'] for row in rows] == ['cat', 'cat', 'dog', 'dog', 'dog', '']
  right = ['' if not row['label'] else str(int(row['class_1'] == row['label'])) for row in rows]
  assert [row['right'] for row in rows] == right
  assert f'{right.count("1")} of 5 images right' in err
  commands.main([*words, *options])
  lines = capsys.readouterr().out.splitlines()
  for line, row in zip(lines, rows, strict=False):
    assert line.endswith(f'  WRONG: labeled {row["label"]}') == (row['right'] == '0')
  assert lines[6] == ''
  assert lines[8].endswith('left out, since the run lacks them: zebra')
  commands.main([*words, *options, '--format=json'])
  found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [(each['label'], each['right']) for each in found[:1]] == [('cat', right[0] == '1')]
  for option, complaint in (
    (['--labels'], 'classes cats, dog, zebra, but the run was trained on the classes cat, dog'),
    (['--skip_unknown_classes'], 'are for labels: give --labels as well'),
  ):
    with pytest.raises(SystemExit):
      commands.main([*words, *option])
    assert complaint in capsys.readouterr().err
