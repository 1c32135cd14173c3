"""Runs measured on data: classes by their names, and no images of another split."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.analysis import scores
from cifar_jax.predict import classifier, run_data
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer.loop import train
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import changed
from tests.helpers.tiny import ONE_LAYER


def variant(tiny_data: pathlib.Path, path: pathlib.Path, **arrays) -> str:
  """The path of a copy of the tiny data with some arrays replaced."""
  with np.load(tiny_data) as original:
    np.savez(path, **{**original, **arrays})
  return str(path)


def accuracy_by_hand(run: pathlib.Path, path: pathlib.Path | str) -> float:
  """Of the test images, from the probabilities and the labels in the file."""
  with np.load(path) as arrays:
    predicted = classifier.load(run).probabilities(arrays['x_test']).argmax(1)
    return float(np.mean(predicted == arrays['y_test']))


def test_classes_in_another_order_are_mapped_by_name(tiny_run, tiny_data, tmp_path) -> None:
  order = np.array([2, 0, 3, 1])  # the number of each class in the new file
  with np.load(tiny_data) as arrays:
    y_train, y_test = order[arrays['y_train']], order[arrays['y_test']]
  names = np.array(['0', '1', '2', '3'])[np.argsort(order)]
  path = variant(tiny_data, tmp_path / 'a.npz', y_train=y_train, y_test=y_test, class_names=names)
  expected = accuracy_by_hand(tiny_run, tiny_data)
  assert accuracy_by_hand(tiny_run, path) != expected  # the numbers alone would give a wrong one
  found = evaluate(tiny_run, data_dir=path)
  assert found['accuracy'] == pytest.approx(expected)
  assert found['data'] == 'tiny'
  # The images are those of the run, so its other splits are known as well.
  splits = run_data.load_known(tiny_run, classifier.load(tiny_run).config, 'validation', path)
  assert splits.class_names == ('0', '1', '2', '3')
  expected_splits = data.load_splits(classifier.load(tiny_run).config)
  for part in ('train', 'validation', 'test'):
    np.testing.assert_array_equal(
      getattr(splits, part).labels, getattr(expected_splits, part).labels
    )


def test_other_classes_are_refused_and_both_lists_named(tiny_run, tiny_data, tmp_path) -> None:
  path = variant(tiny_data, tmp_path / 'a.npz', class_names=np.array(['0', '1', 'cat', '3']))
  with pytest.raises(UserError, match=r'classes 0, 1, cat, 3, but .* classes 0, 1, 2, 3;'):
    evaluate(tiny_run, data_dir=path)


def test_labels_without_names_are_refused_until_they_have_those_of_the_run(
  tiny_run, tiny_data, tmp_path
) -> None:
  """What the refusal says to do is then done: once for labels in the run's order, once not."""
  names = ['cat', 'dog', 'owl', 'emu']
  run = tmp_path / 'run'
  shutil.copytree(tiny_run, run)
  about = json.loads((run / 'about.json').read_text())
  (run / 'about.json').write_text(json.dumps({**about, 'class_names': names}))
  with pytest.raises(UserError, match=r'labels 0 to 3 mean those classes in that order') as caught:
    evaluate(run)
  said = re.search(r'save class_names=(\[.*?\]) in the \.npz file', str(caught.value))
  assert said is not None
  assert json.loads(said[1].replace("'", '"')) == names
  expected = accuracy_by_hand(tiny_run, tiny_data)
  path = variant(tiny_data, tmp_path / 'a.npz', class_names=np.array(names))
  assert evaluate(run, data_dir=path)['accuracy'] == pytest.approx(expected)
  with np.load(tiny_data) as arrays:
    turned = {name: 3 - arrays[name] for name in ('y_train', 'y_test')}
  path = variant(tiny_data, tmp_path / 'b.npz', class_names=np.array(names[::-1]), **turned)
  assert evaluate(run, data_dir=path)['accuracy'] == pytest.approx(expected)


def test_how_to_name_classes_of_which_one_side_has_numbers_only(tiny_config) -> None:
  splits = data.load_splits(tiny_config)

  def refusal(has: list[str], wants: list[str], source: str = 'mine.npz') -> str:
    other = dataclasses.replace(splits, class_names=tuple(has), source=source)
    with pytest.raises(UserError) as caught:
      data.renumbered(other, wants)
    return str(caught.value).partition('; ')[2]

  names, numbers = ['a', 'b', 'c', 'd'], ['0', '1', '2', '3']
  assert "save class_names=['0', '1', '2', '3'] in the .npz" in refusal(names, numbers)
  assert 'labels in an .npz file; if they' in refusal(names, numbers, 'cifar-10.tar.gz')
  many = [f'class {number}' for number in range(100)]
  assert "class_names of the run's about.json" in refusal([str(n) for n in range(100)], many)
  for has in (numbers[:3], [*numbers, '4'], ['1', '2', '3', '4'], ['w', 'x', 'y', 'z']):
    assert refusal(has, names) == 'give it data whose classes have these names'


def test_few_other_images_are_tested_whatever_would_be_held_out(
  tiny_run, tiny_data, tmp_path
) -> None:
  """The run holds 20 training images out, which of these leaves one; nobody asks for them."""
  with np.load(tiny_data) as arrays:
    order = np.argsort(arrays['y_train'], kind='stable')[-21:]
    few = {name: arrays[name][order] for name in ('x_train', 'y_train')}
  few['y_train'][:21] = [*[0, 1, 2, 3] * 5, 3]
  path = variant(tiny_data, tmp_path / 'few.npz', **few)
  assert evaluate(tiny_run, data_dir=path)['accuracy'] == pytest.approx(
    accuracy_by_hand(tiny_run, path)
  )


def test_reports_are_of_known_data_too(tiny_run, tiny_data, tmp_path) -> None:
  for package in ('matplotlib', 'sklearn', 'jinja2', 'PIL'):
    pytest.importorskip(package)
  from cifar_jax.report.report import write_report

  path = variant(tiny_data, tmp_path / 'a.npz', class_names=np.array(['0', '1', 'cat', '3']))
  with pytest.raises(UserError, match='has the classes 0, 1, cat, 3, but'):
    write_report(tiny_run, data_dir=path)
  with np.load(tiny_data) as arrays:
    path = variant(tiny_data, tmp_path / 'b.npz', x_train=255 - arrays['x_train'])
  with pytest.raises(UserError, match='trained on other data than'):
    write_report(tiny_run, split='validation', data_dir=path)


def test_data_with_some_of_the_classes_alone(tiny_run, tiny_data, tmp_path) -> None:
  with np.load(tiny_data) as arrays:
    kept = {name: arrays[f'y_{name}'] >= 2 for name in ('train', 'test')}
    changes = {
      f'{kind}_{name}': arrays[f'{kind}_{name}'][kept[name]] for name in kept for kind in 'xy'
    }
  changes = {name: a - 2 if name[0] == 'y' else a for name, a in changes.items()}
  path = variant(tiny_data, tmp_path / 'a.npz', **changes, class_names=np.array(['2', '3']))
  predicted = classifier.load(tiny_run).probabilities(changes['x_test']).argmax(1)
  expected = np.mean(predicted == changes['y_test'] + 2)
  assert evaluate(tiny_run, data_dir=path)['accuracy'] == pytest.approx(float(expected))


@pytest.mark.parametrize(
  'change',
  [
    *(pytest.param(change, marks=pytest.mark.thorough) for change in ('other images', 'one more')),
    'one replaced',
  ],
)
def test_other_training_images(tiny_run, tiny_data, tmp_path, change) -> None:
  with np.load(tiny_data) as arrays:
    x, y = arrays['x_train'], arrays['y_train']
    if change == 'one more':
      x, y = np.concatenate([x, x[:1]]), np.concatenate([y, y[:1]])
    elif change == 'one replaced':  # as a file taken away and another added: the labels stay
      places = np.flatnonzero(y == 1 + (y[0] == 1))
      assert places[0] > 0  # the first image stays as well
      x = x.copy()
      x[places[:-1]] = x[places[1:]]
    else:
      x = 255 - x
  path = variant(tiny_data, tmp_path / 'a.npz', x_train=x, y_train=y)
  for split in ('train', 'validation'):
    with pytest.raises(UserError, match=rf'trained on other data than .*a\.npz .* its {split} im'):
      evaluate(tiny_run, split=split, data_dir=path)
    assert evaluate(tiny_run, split=split)['split'] == split
  found = evaluate(tiny_run, data_dir=path)
  assert found['accuracy'] == pytest.approx(accuracy_by_hand(tiny_run, tiny_data))
  assert found['data'] == f'tiny [{run_data.OTHER_DATA}]'


def test_images_of_another_shape_are_refused(tiny_run, tiny_data, tmp_path) -> None:
  with np.load(tiny_data) as arrays:
    changes = {name: arrays[name][:, :, :6] for name in ('x_train', 'x_test')}
  path = variant(tiny_data, tmp_path / 'a.npz', **changes)
  with pytest.raises(UserError, match=r'shape \[8, 6, 3\], but .* trained on the shape \[8, 8, 3'):
    evaluate(tiny_run, data_dir=path)


def test_errors_name_the_flag_that_was_typed(tiny_run) -> None:
  with pytest.raises(UserError, match=r'^--data_dir=/no/where does not exist'):
    evaluate(tiny_run, data_dir='/no/where')


def test_without_the_flag_errors_name_the_folder_of_the_run(
  tiny_run, tmp_path, monkeypatch
) -> None:
  run = tmp_path / 'run'
  shutil.copytree(tiny_run, run)
  config = json.loads((run / 'config.json').read_text())
  config['data']['dir'] = 'tiny.npz'  # as it was written in the folder of the training
  (run / 'config.json').write_text(json.dumps(config))
  monkeypatch.chdir(tmp_path)
  words = r"^the run's data\.dir=tiny\.npz does not exist; set --data_dir to where \w+ is$"
  with pytest.raises(UserError, match=words):
    evaluate(run)
  (tmp_path / 'tiny.npz').mkdir()
  with pytest.raises(UserError, match=r"^the run's data\.dir=tiny\.npz holds no .*--data_dir says"):
    evaluate(run)


def test_the_flag_is_named_in_one_sentence(tiny_config) -> None:
  few = changed(tiny_config, **{'data.validation': '1000'})
  with pytest.raises(
    UserError, match=r'a fraction such as 0\.1; --data_dir says where the data are'
  ):
    run_data.data_at(few)


@pytest.mark.thorough
@pytest.mark.parametrize('normalize', ['channel', 'zca'])
def test_other_training_images_do_not_change_the_normalization(
  tiny_config, tiny_data, tmp_path, normalize
) -> None:
  config = changed(tiny_config, max_steps=2, **{'data.normalize': normalize})
  train(config, tmp_path / 'run', Progress('silent'))
  with np.load(tiny_data) as arrays:
    darker = arrays['x_train'] // 3
  path = variant(tiny_data, tmp_path / 'a.npz', x_train=darker)
  expected, found = evaluate(tmp_path / 'run'), evaluate(tmp_path / 'run', data_dir=path)
  assert found['loss'] == expected['loss']
  network = classifier.load(tmp_path / 'run')
  test = data.load(config.data).test
  by_hand = scores.cross_entropy(network.probabilities(test.images), test.labels)
  assert found['loss'] == pytest.approx(by_hand, rel=1e-4)


def test_validation_is_that_of_training(tiny_config, tmp_path) -> None:
  """Of 20 images in batches of 16 the last four are left out, in training and afterwards."""
  options = {**ONE_LAYER, 'evaluate.drop_remainder': True}
  config = changed(tiny_config, max_steps=2, batch_size=16, **options)
  summary = train(config, tmp_path, Progress('silent'))
  found = evaluate(tmp_path, split='validation')
  assert found['examples'] == 16
  assert found['loss'] == pytest.approx(summary['val_loss'])
