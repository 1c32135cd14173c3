"""Image files named by a table: what is understood, what is asked about, and their images."""

import io
import os
import pathlib
import re
import sys

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.data.image_folder import csv_listing, table
from cifar_jax.data.image_folder.csv_listing import list_csv
from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError
from tests.helpers.mutations import mutations
from tests.helpers.only_user_errors import only_user_errors
from tests.helpers.picture_files import data_config, write_tree


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
  """Six pictures images/000.png to images/005.png."""
  return write_tree(tmp_path_factory.mktemp('csv'), {'images': 6})


def listed(folder: pathlib.Path, text: str | bytes, multi_label: bool = False, name='labels.csv'):
  path = folder / name
  path.write_bytes(text.encode() if isinstance(text, str) else text)
  try:
    return list_csv(path, multi_label)
  finally:
    path.unlink()


def labels_of(listing) -> dict[str, object]:
  return {file.path.name: file.label for file in listing.files}


TWO = {'000.png': 0, '001.png': 1}
PLAIN = 'file,label\n000.png,cat\n001.png,dog\n'
FORMS = {
  'plain': PLAIN,
  'semicolons': PLAIN.replace(',', ';'),
  'tabs': PLAIN.replace(',', '\t'),
  'Excel in UTF-8': b'\xef\xbb\xbf' + PLAIN.replace('\n', '\r\n').encode(),
  'Excel in UTF-16': PLAIN.replace(',', '\t').encode('utf-16'),
  'a separator said': 'sep=;\n' + PLAIN.replace(',', ';'),
  'no header': '000.png,cat\n001.png,dog\n',
  'quoted': 'file,label\n"000.png","cat"\n"001.png" ,dog\n'.replace(' ,', ','),
  'spaces': 'file, label\n000.png, cat \n001.png,dog\n\n',
  'backslashes': 'file,label\nimages\\000.png,cat\n.\\images\\001.png,dog\n',
  'no suffix': 'id,label\n000,cat\n001,dog\n',
  'other case': 'Image_ID,Label\n000.PNG,cat\n001.Png,dog\n',
  'index and more': ',label,Image Path,width\n0,cat,000.png,30\n1,dog,001.png,30\n',
  'filled lines': 'file;label;;\n000.png;cat;;\n001.png;dog;;\n;;;\n',
  'a column a class': 'image,dog,cat\n000.png,0,1\n001.png,1,0\n',
  'decimal commas': 'image;dog;cat\n000.png;0,0;1,0\n001.png;1,0;0,0\n',
  'in an order of its own': 'class,filename\ncat,000.png\ndog,001.png\n',
}


@pytest.mark.parametrize('form', FORMS)
def test_forms(folder, form) -> None:
  listing = listed(folder, FORMS[form])
  assert listing.class_names == ('cat', 'dog')
  assert labels_of(listing) == TWO
  assert not listing.multi_label
  assert [file.path.parent for file in listing.files] == [folder / 'images'] * 2


def test_a_code_page_of_excel(folder) -> None:
  text = 'file;label\n000.png;Größe\n001.png;Maß\n'
  assert listed(folder, text.encode('cp1252')).class_names == ('Größe', 'Maß')


def test_numbers_are_in_their_own_order(folder) -> None:
  listing = listed(folder, 'file,label\n000.png,10\n001.png,9\n')
  assert listing.class_names == ('9', '10')
  assert labels_of(listing) == {'000.png': 1, '001.png': 0}


def test_splits_and_groups(folder) -> None:
  text = 'file,label,split,patient_id\n000,a,train,p\n001,b,Training,q\n002,a,VAL,r\n003,b,test,s\n'
  listing = listed(folder, text)
  names = {name: [file.path.stem for file in files] for name, files in listing.splits.items()}
  assert names == {'train': ['000', '001'], 'validation': ['002'], 'test': ['003']}
  np.testing.assert_array_equal(listing.groups_of(listing.files), ['p', 'q', 'r', 's'])


def test_a_table_a_split(tmp_path) -> None:
  write_tree(tmp_path, {'train': 2, 'test': 2})  # with files of the same names
  (tmp_path / 'train.csv').write_text(PLAIN)
  (tmp_path / 'Test.csv').write_text('file,label\n001.png,dog\n')
  listing = list_csv(tmp_path)
  assert [str(file.path.relative_to(tmp_path)) for file in listing.files] == [
    *('train/000.png', 'train/001.png'),
    'test/001.png',
  ]


SEVERAL = {'000.png': (0,), '001.png': (0, 1), '002.png': ()}
SEVERAL_FORMS = {
  'one cell': ('file,labels\n000,cat\n001,cat;dog\n002,\n', True),
  'bars': ('file,labels\n000,cat\n001, dog | cat\n002,\n', True),
  'columns': ('file,cat,dog\n000,1,0\n001,1,1\n002,0,0\n', False),
  'columns of -1 and 1': ('file,cat,dog\n000,1,-1\n001,1,1\n002,-1,-1\n', False),
  'columns of words': ('file,cat,dog\n000,True,false\n001,true,TRUE\n002,False,False\n', False),
}


@pytest.mark.parametrize('form', SEVERAL_FORMS)
def test_several_labels(folder, form) -> None:
  listing = listed(folder, *SEVERAL_FORMS[form])
  assert listing.class_names == ('cat', 'dog')
  assert labels_of(listing) == SEVERAL
  array = listing.labels_of(listing.files)
  assert array.dtype == np.uint8
  np.testing.assert_array_equal(array, [[1, 0], [1, 1], [0, 0]])


def test_a_line_for_each_label(folder) -> None:
  text = 'file,label\n000,cat\n001,cat\n001,dog\n'
  assert labels_of(listed(folder, text, True)) == {'000.png': (0,), '001.png': (0, 1)}


REFUSED = {
  'no column of files': ('a,b\n1,2\n', "'a,b', which names no column of image files"),
  'no labels': ('file,width\n000,30\n', 'none of which holds labels'),
  'two columns of labels': ('file,label,class\n000,a,b\n', 'label and class, which both may hold'),
  'two columns of files': ('file,path,label\n000,0,b\n', 'file and path, which both may hold'),
  'another case': ('file,label\n000,Cat\n001,cat\n', "written alike, 'Cat', 'cat'"),
  'inner blanks': ('file,label\n000,big cat\n001,big  cat\n', 'written alike'),
  'perhaps several': ('file,label\n000,cat;dog\n001,cat\n', 'set --config.data.multi_label=True'),
  'several or none': ('file,label\n000,\n001,a;b\n', 'set --config.data.multi_label=True'),
  'missing': ('file,label\n000,a\n9,b\n8,a\n', "'9' (line 3), '8' (line 4); looked in"),
  'no label': ('file,label\n000,a\n001,\n', 'line 3: it has no label'),
  'contradiction': ('file,label\n000,a\n001,b\n000.png,b\n', "line 4: 000.png is 'b', but 'a'"),
  'no split': ('file,label,split\n000,a,train\n001,b,0\n', "line 3: '0' is no split"),
  'only a test': ('file,label,split\n000,a,test\n001,b,test\n', 'names no training image'),
  'unknown label': ('file,label,split\n000,a,train\n001,b,train\n002,c,val\n', 'has the labels c'),
  'one class': ('file,label\n000,a\n001,a\n', 'nothing to tell apart'),
  'uncertain': ('file,a,b\n000,1,-1\n001,0,1\n', "line 2: '-1' in the column b is neither 0 nor 1"),
  'no number': ('file,a,b\n000,1,2\n001,0,1\n', "'2' in the column b"),
  'short line': ('file,label\n000,a\n001\n', 'line 3: it has 1 cells divided by commas'),
  'open quote': ('file,label\n"000,a\n001,b\n', 'unexpected end of data'),
  'empty': ('', 'names no column'),
  'header alone': ('file,label\n', 'holds no line of an image'),
  'two groups': (
    'file,label,group\n000,a,p\n001,b,q\n000.png,a,r\n',
    'line 4: 000.png is of the g',
  ),
  'no group': ('file,label,group\n000,a,p\n001,b,\n', 'line 3: it has no group'),
  'no text': (b'\x89PNG\r\n\x1a\n\x00\x00', 'is no text'),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_is_refused(folder, what) -> None:
  text, said = REFUSED[what]
  with pytest.raises(UserError) as error:
    listed(folder, text)
  assert said in str(error.value)
  assert 'labels.csv' in str(error.value)


def test_two_separators_are_one_too_many(folder) -> None:
  with pytest.raises(UserError, match=r'divides labels by ; in some cells and by \| in others'):
    listed(folder, 'file,labels\n000,a;b\n001,a|b\n', multi_label=True)


def test_tables_that_contradict_each_other(tmp_path) -> None:
  write_tree(tmp_path, {'images': 2})
  (tmp_path / 'train.csv').write_text(PLAIN)
  (tmp_path / 'test.csv').write_text('file,cat,dog\n000,1,0\n001,0,1\n')
  with pytest.raises(UserError, match='tables with a column a label and others with one column'):
    list_csv(tmp_path)
  (tmp_path / 'test.csv').write_text('file,label,split\n000,cat,test\n')
  with pytest.raises(UserError, match='is the table of test by its name and has a column of spli'):
    list_csv(tmp_path)


def test_many_missing_are_counted(folder) -> None:
  with pytest.raises(UserError) as error:
    listed(folder, f'file,label\n000,a\n{"x" * 5000}.png,b\n')
  assert len(str(error.value)) < 1000
  text = 'file,label\n' + ''.join(f'{name},a\n' for name in range(100, 120))
  with pytest.raises(UserError, match=r'20 of the 20 images .* and 12 more; looked in'):
    listed(folder, text)


def test_a_name_that_may_mean_two_files(tmp_path) -> None:
  write_tree(tmp_path, {'images': 2, 'photos': 2})
  with pytest.raises(UserError, match=r"'000.png' may be .*images/000.png or .*photos/000.png"):
    listed(tmp_path, PLAIN)


def test_folders_without_the_table(tmp_path) -> None:
  with pytest.raises(UserError, match='holds no table; give a CSV file of file and label'):
    list_csv(tmp_path)
  for name in ('a.csv', 'b.csv'):
    (tmp_path / name).write_text(PLAIN)
  with pytest.raises(UserError, match=r'holds a.csv, b.csv; give a CSV file'):
    list_csv(tmp_path)
  with pytest.raises(UserError, match='null is no table; give a CSV file'):
    list_csv(pathlib.Path(os.devnull))


def test_damaged_tables_end_in_a_sentence(folder) -> None:
  content = b'\xef\xbb\xbffile;label;split\r\n' + b''.join(
    b'images\\00%d.png;"%s";train\r\n' % (number, b'cat' if number % 2 else b'big dog')
    for number in range(6)
  )
  for damaged in mutations(content, 300):
    with only_user_errors('labels.csv'):
      listed(folder, damaged)


def test_images_are_those_of_the_folder(tmp_path) -> None:
  """One decoder, one cache: the same pixels, kept and streamed, with labels and groups."""
  write_tree(tmp_path, {'train/cat': 2, 'train/dog': 2, 'test/cat': 1, 'test/dog': 1})
  rows = [
    f'{path.relative_to(tmp_path)},{path.parent.name},{path.parent.parent.name},{path.stem}'
    for path in sorted(tmp_path.rglob('*.png'))
  ]
  table = tmp_path / 'labels.csv'
  table.write_text('\n'.join(['file,label,split,group', *rows]))
  folder = data_config(tmp_path)
  table_config = data_config(table)
  table_config.name = 'csv'
  expected, found = data.load(folder), data.load(table_config)
  assert (found.name, found.source, found.class_names) == ('csv', str(table), ('cat', 'dog'))
  assert found.preprocessing == expected.preprocessing
  streamed_config = data_config(table, cache=False, workers=1)
  streamed_config.name, streamed_config.placement = 'csv', 'host'
  streamed = data.load(streamed_config)
  for split in ('train', 'test'):
    of_folder, of_table = getattr(expected, split), getattr(found, split)
    np.testing.assert_array_equal(of_table.images, of_folder.images)
    np.testing.assert_array_equal(of_table.labels, of_folder.labels)
    np.testing.assert_array_equal(getattr(streamed, split).images[:], of_folder.images)
    np.testing.assert_array_equal(getattr(streamed, split).labels, of_folder.labels)
  np.testing.assert_array_equal(found.train.groups, ['000', '001'] * 2)
  np.testing.assert_array_equal(streamed.train.groups, ['000', '001'] * 2)


def test_equal_images_of_two_splits_are_named(tmp_path) -> None:
  write_tree(tmp_path, {'images': 3})
  (tmp_path / 'labels.csv').write_text(
    'file,label,split\n000,a,train\n001,b,train\n002,a,test\n001,b,test\n'
  )
  config = data_config(tmp_path)
  config.name = 'csv'
  assert any('1 images of test are also in train' in note for note in data.load(config).notes)


def test_the_reading_of_a_long_table_is_seen(folder, monkeypatch, capsys) -> None:
  """On a terminal, and where it takes more than a moment."""
  listed(folder, PLAIN)
  assert capsys.readouterr().err == ''
  monkeypatch.setattr(table, '_PATIENCE', 0.0)
  monkeypatch.setattr(sys, 'stderr', terminal := io.StringIO())
  monkeypatch.setattr(terminal, 'isatty', lambda: True)
  listed(folder, PLAIN)
  shown = terminal.getvalue()
  assert re.search('reading labels.csv: .*looking for the images of labels.csv: ', shown, re.DOTALL)
  assert shown.endswith('\r')  # what is said next has a line of its own


def test_after_many_missing_files_no_more_are_looked_for(folder, monkeypatch) -> None:
  monkeypatch.setattr(csv_listing, '_ENOUGH', 3)
  looked: list[str] = []
  find = csv_listing._Files.find
  monkeypatch.setattr(
    csv_listing._Files, 'find', lambda files, name: looked.append(name) or find(files, name)
  )
  names = [f'{number:03d}.png' for number in range(4, 100)]  # of which 2 are there
  text = 'file,label\n' + ''.join(f'{name},cat\n' for name in names)
  with pytest.raises(
    UserError, match=r"^3 or more of the 96 images .* are not there: '006\.png' \(line 4\), '007"
  ):
    listed(folder, text)
  assert looked == names[:5]


def test_more_lines_than_there_is_memory_for(folder, monkeypatch) -> None:
  monkeypatch.setattr(host_memory, 'available', lambda: 10**6)
  listed(folder, PLAIN)
  with pytest.raises(
    UserError, match=r'labels\.csv has 5,003 lines, which take 0\.01 GiB of memory'
  ):
    listed(folder, PLAIN + '002.png,cat\n' * 5000)
