"""A run on images with several labels: what it measures, keeps, predicts and refuses."""

import io
import json
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import commands, data
from cifar_jax.cards import facts, pack
from cifar_jax.exchange import safetensors_export
from cifar_jax.exchange.targets import Options
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import meanings, model_folder, run_files
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.search import objectives
from cifar_jax.serve import web_app
from cifar_jax.trainer import loop, reuse, together
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of

NAMES = ('left', 'upper', 'lower right')


@pytest.fixture(scope='module')
def corners(tmp_path_factory) -> pathlib.Path:
  """An .npz of 200 training and 90 test images 8x8x3, some of whose corners are brighter."""
  draw = np.random.default_rng(0)

  def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = (draw.random((count, 3)) < [0.5, 0.3, 0.2]).astype(np.int64)
    images = draw.integers(0, 128, (count, 8, 8, 3))
    for column, (row, place) in enumerate([(0, 0), (0, 4), (4, 4)]):
      images[labels[:, column] > 0, row : row + 4, place : place + 4] += 60
    return images.astype(np.uint8), labels

  path = tmp_path_factory.mktemp('corners') / 'corners.npz'
  (x_train, y_train), (x_test, y_test) = images_and_labels(200), images_and_labels(90)
  arrays = {'x_train': x_train, 'y_train': y_train, 'x_test': x_test, 'y_test': y_test}
  np.savez(path, **arrays, class_names=np.array(NAMES))
  return path


def config_on(path: pathlib.Path, **values) -> ConfigDict:
  config = tiny.get_config()
  config.update_from_flattened_dict(
    {
      **tiny.LINEAR,
      'data.name': 'corners',
      'data.dir': str(path),
      'epochs': 2,
      'checkpoint.best': 'val_map',
      'optimizer.learning_rate': 0.01,
      **values,
    }
  )
  return config.lock()


@pytest.fixture(scope='module')
def run(corners, tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('runs') / 'several'
  loop.train(config_on(corners), folder, SILENT)
  return folder


def test_what_it_measures_is_scikit_learn_s(run, corners) -> None:
  metrics = pytest.importorskip('sklearn.metrics')
  network = classifier.load(run)
  splits = data.load_splits(network.config)
  assert splits.class_names == NAMES
  summary, about = run_files.read_summary(run), run_files.read_about(run)
  assert about['task'] == 'multi_label'
  for split in ('validation', 'test'):
    part = getattr(splits, split)
    scores = network.probabilities(part.images)
    prefix = 'val' if split == 'validation' else split
    ap = metrics.average_precision_score(part.labels, scores, average='macro')
    assert summary[f'{prefix}_map'] == pytest.approx(ap, rel=1e-6)
    assert ap > part.labels.mean() + 0.1  # that of chance
    chosen = scores >= np.array(network.thresholds)
    for kind in ('micro', 'macro'):
      f1 = metrics.f1_score(part.labels, chosen, average=kind)
      assert summary[f'{prefix}_{kind}_f1'] == pytest.approx(f1, rel=1e-6)
    accuracy = np.mean((scores > 0.5) == (part.labels > 0))
    assert summary[f'{prefix}_accuracy'] == pytest.approx(accuracy, rel=1e-6)
    loss = metrics.log_loss(part.labels.ravel(), scores.ravel().astype(float))
    assert summary[f'{prefix}_loss'] == pytest.approx(loss, rel=1e-5)
    found = evaluate(run, split=split)
    assert {name: found[name] for name in ('loss', 'map', 'macro_f1')} == pytest.approx(
      {name: summary[f'{prefix}_{name}'] for name in ('loss', 'map', 'macro_f1')}
    )
  assert float(rows_of(run)[-1]['val_map']) == summary['val_map']
  with Checkpoints(run, read_only=True) as checkpoints:
    assert tuple(checkpoints.facts('best')['thresholds']) == classifier.load(run, 'best').thresholds


def test_what_a_run_writes_is_explained(run) -> None:
  header, *_ = (run / 'metrics.csv').read_text().splitlines()
  assert header.split(',') == [*meanings.METRICS, *meanings.METRICS_OF_LABELS]
  summary, about = (
    set(json.loads((run / name).read_text())) for name in ('summary.json', 'about.json')
  )
  assert summary == {*meanings.SUMMARY, *meanings.SUMMARY_OF_LABELS} - {'runs_together'}
  assert about == {*meanings.ABOUT, *meanings.ABOUT_OF_LABELS}


def test_goes_on_as_if_it_had_never_stopped(run, corners, tmp_path) -> None:
  loop.train(config_on(corners, epochs=1), tmp_path, SILENT)
  loop.train(config_on(corners), tmp_path, SILENT)
  assert rows_of(tmp_path) == rows_of(run)
  config = config_on(corners)
  assert_identical(state_of(config, tmp_path).params, state_of(config, run).params)
  assert model_folder.thresholds(tmp_path) == model_folder.thresholds(run)


def test_predict_names_the_labels_that_reach_their_thresholds(run, tmp_path, capsys) -> None:
  image = pytest.importorskip('PIL.Image')
  network = classifier.load(run)
  test = data.load_splits(network.config).test
  for place in range(4):
    image.fromarray(test.images[place]).save(tmp_path / f'{place}.png')
  commands.main(['predict', str(run), str(tmp_path), '--format=json'])
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  for line, scores in zip(lines, network.probabilities(test.images[:4]), strict=True):
    expected = {
      name: pytest.approx(float(score), rel=1e-5)
      for name, score, threshold in zip(NAMES, scores, network.thresholds, strict=True)
      if score >= threshold
    }
    assert {each['class']: each['probability'] for each in line['labels']} == expected
  commands.main(['predict', str(run), str(tmp_path), '--format=csv'])
  header, *rows = capsys.readouterr().out.splitlines()
  assert header == 'image,labels,probabilities'
  assert [row.split(',')[1] for row in rows] == [
    ';'.join(each['class'] for each in line['labels']) for line in lines
  ]


def test_report_and_any_set_measure_the_same(run, corners, capsys) -> None:
  pytest.importorskip('matplotlib')
  pytest.importorskip('jinja2')
  commands.main(['report', str(run)])
  expected = evaluate(run)
  found = json.loads((run / 'report' / 'scores.json').read_text())
  for name in ('loss', 'accuracy', 'map', 'macro_f1', 'micro_f1'):
    assert found[name] == pytest.approx(expected[name], rel=1e-5)
  assert list(found['labels']) == list(NAMES)
  page = (run / 'report' / 'index.html').read_text()
  assert 'Precision over recall' in page
  assert 'Worst confusions' not in page
  capsys.readouterr()
  options = ['--data.name=corners', f'--data.dir={corners}', '--json']
  commands.main(['evaluate', str(run), *options])
  other = json.loads(capsys.readouterr().out)
  assert {name: other[name] for name in ('loss', 'map', 'micro_f1')} == pytest.approx(
    {name: expected[name] for name in ('loss', 'map', 'micro_f1')}, rel=1e-5
  )


@pytest.mark.thorough
def test_the_report_on_a_label_that_no_image_has(run, corners, tmp_path) -> None:
  pytest.importorskip('matplotlib')
  pytest.importorskip('jinja2')
  with np.load(corners) as arrays:
    labels = arrays['y_test'] * [1, 0, 1]
    np.savez(tmp_path / 'absent.npz', **{**arrays, 'y_test': labels})
  commands.main(['report', str(run), '--data.name=absent', f'--data.dir={tmp_path}'])
  found = json.loads((run / 'report' / 'absent' / 'scores.json').read_text())['labels']
  assert [found[name]['average_precision'] is None for name in NAMES] == [False, True, False]
  assert found['upper']['support'] == 0


def test_a_model_folder_keeps_the_thresholds(run, tmp_path) -> None:
  network = classifier.load(run)
  config, about, variables, _ = pack.parts_of(run, 'latest')
  place, exported = tmp_path / 'model', tmp_path / 'exported'
  model_folder.write(place, config=config, about=about, variables=variables, dtype='float32')
  safetensors_export.write(network, exported, Options())
  for kept in (classifier.load(place), classifier.load(exported)):
    assert kept.thresholds == network.thresholds != (0.5, 0.5, 0.5)
    assert kept.task is network.task


@pytest.mark.thorough
def test_an_entry_of_the_zoo_says_its_mean_average_precision(run, corners, tmp_path) -> None:
  entry = pack.pack(run, pack.Said('corners', 'x'), folder=tmp_path, data_dir=str(corners))
  (result,) = facts.read(entry / 'card.json')['results']
  assert result['map'] == pytest.approx(run_files.read_summary(run)['test_map'], abs=0.01)


@pytest.mark.thorough
def test_the_page_marks_the_labels_that_reach_their_thresholds(run) -> None:
  pytest.importorskip('flask')
  image = pytest.importorskip('PIL.Image')
  network = classifier.load(run)
  splits = data.load_splits(network.config)
  neighbors = web_app.NearestNeighbors(network, splits.train, 20)
  client = web_app.make_app(network, lambda: neighbors, '127.0.0.1').test_client()
  picture = io.BytesIO()
  image.fromarray(splits.test.images[0]).save(picture, 'PNG')
  picture.seek(0)
  headers = {'Host': '127.0.0.1', 'Origin': 'http://127.0.0.1'}
  answer = client.post('/predict', data={'image': (picture, 'a.png')}, headers=headers).get_json()
  scores = network.probabilities(splits.test.images[:1])[0]
  found = {each['name']: each['chosen'] for each in answer['classes']}
  assert found == dict(zip(NAMES, (scores >= network.thresholds).tolist(), strict=True))
  assert {name for each in answer['nearest'] for name in each['name'].split(', ')} <= {
    *NAMES,
    'no label',
  }


def test_a_study_of_one_label_has_no_mean_average_precision(run) -> None:
  summary = run_files.read_summary(run)
  assert objectives.value_of('val_map', summary) == summary['val_map']
  with pytest.raises(UserError, match='--objectives=val_map is measured on images that may have'):
    objectives.value_of('val_map', {'val_accuracy': 0.5})


@pytest.mark.thorough
@pytest.mark.parametrize(
  'values',
  [
    {'parallel': 'pmap', 'devices': 2},
    {'devices': 5},
    {'data.placement': 'host'},
    {'data.placement': 'host', 'devices': 2},
    {'grad_accum_steps': 2},
  ],
)
def test_however_it_is_computed(run, corners, tmp_path, values) -> None:
  loop.train(config_on(corners, **values), tmp_path, SILENT)
  found, expected = rows_of(tmp_path)[-1], rows_of(run)[-1]
  for name in ('train_loss', 'train_accuracy', 'val_loss', 'val_map', 'val_macro_f1'):
    assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-4), name


REFUSED = {
  'evaluate.images_every_epochs': 1,
  'loss.class_weights': ('balanced',),
  'data.sampling': 'balanced',
  'data.stratified': True,
}


@pytest.mark.parametrize('option', REFUSED)
def test_what_several_labels_have_no_meaning_for(corners, tmp_path, option) -> None:
  with pytest.raises(UserError, match=f'--config.{option}.* may (have several|be of several)'):
    loop.train(config_on(corners, **{option: REFUSED[option]}), tmp_path, SILENT)


def test_no_precision_without_a_label_to_be_found(corners, tmp_path) -> None:
  with np.load(corners) as arrays:
    empty = {'x_val': arrays['x_test'], 'y_val': np.zeros_like(arrays['y_test'])}
    np.savez(tmp_path / 'empty.npz', **arrays, **empty)
  config = config_on(tmp_path / 'empty.npz', **{'data.validation': '20'})
  with pytest.raises(UserError, match=r"--config\.checkpoint\.best='val_map' .* have none"):
    loop.train(config, tmp_path / 'run', SILENT)


def test_a_part_in_several_views_is_refused(corners, tmp_path) -> None:
  config = config_on(corners, **{'evaluate.tta': 'flip', 'evaluate.tta_fraction': 0.5})
  with pytest.raises(UserError, match='tta_fraction goes by the probability of one class'):
    loop.train(config, tmp_path, SILENT)


@pytest.mark.parametrize(
  ('values', 'said'),
  [
    ({'checkpoint.best': 'val_map'}, 'checkpoint.best'),
    (
      {'early_stopping.patience': 1, 'early_stopping.monitor': 'val_map'},
      'early_stopping.monitor',
    ),
    ({'loss.positive_weights': 'balanced'}, 'loss.positive_weights'),
  ],
)
def test_what_one_label_has_no_meaning_for(tiny_config, tmp_path, values, said) -> None:
  with pytest.raises(UserError, match=f'--config.{said}=.* several'):
    loop.train(changed(tiny_config, **values), tmp_path, SILENT)


@pytest.mark.parametrize('weights', ['none', 'balanced'])
def test_weights_by_the_images_of_a_seed_need_programs_of_their_own(corners, weights) -> None:
  build = reuse.SameButSeed()
  programs = []
  for seed in (0, 1):
    config = config_on(corners, seed=seed, **{'loss.positive_weights': weights})
    trainer = build(config, data.load_splits(config))
    programs.append(trainer.train_steps)
    labels = data.load_splits(config).train.labels
    balanced = tuple((labels == 0).sum(0) / (labels == 1).sum(0)) if weights == 'balanced' else ()
    assert trainer.recipe.positive_weights == pytest.approx(balanced)
  assert (programs[0] is programs[1]) == (weights == 'none')


def test_no_runs_together(corners, tmp_path) -> None:
  several = [config_on(corners, seed=seed) for seed in (0, 1)]
  with pytest.raises(together.NotTogetherError, match='may have several labels'):
    together.train(several, [tmp_path / '0', tmp_path / '1'], SILENT)


def test_data_of_the_other_kind_are_refused(run, tiny_data, capsys) -> None:
  with pytest.raises(SystemExit):
    commands.main(['evaluate', str(run), '--data.name=tiny', f'--data.dir={tiny_data}'])
  said = 'have one label each, and the run was trained on images with several'
  assert said in capsys.readouterr().err
