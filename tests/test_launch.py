"""The command lines that users type: fast help, one line for a mistake, status 2."""

import json
import os

import pytest

from cifar_jax import commands
from tests.helpers import REPOSITORY, warm_process
from tests.helpers.python_process import run_python
from tests.helpers.scripts import as_script
from tests.helpers.tiny import LINEAR

ASCII = REPOSITORY / 'tests' / 'fixtures' / 'ascii'
LAUNCH = ('launch.py',)
MODULE = ('-m', 'cifar_jax')
ADV = '--config=configs/cnn_adv.py'

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


def run(*arguments: str) -> tuple[int, str, str]:
  done = run_python(*arguments)
  return done.returncode, done.stdout, done.stderr


def one_error(err: str) -> str:
  assert 'Traceback' not in err
  lines = err.splitlines()
  assert len(lines) == 1, err
  assert lines[0].startswith('error: ')
  return lines[0]


def called(capsys, *arguments: str) -> tuple[int, str, str]:
  """`python -m cifar_jax ...` in this process: status, stdout, stderr."""
  status = 0
  try:
    commands.main(arguments)
  except SystemExit as end:
    status = int(end.code or 0)
  out, err = capsys.readouterr()
  return status, out, err


def test_help_comes_within_three_seconds_and_shows_how() -> None:
  seconds = []
  for _ in range(2):
    before = os.times()
    status, out, err = run(*LAUNCH, '--help')
    after = os.times()
    # Processor time: that of the clock where nothing else runs, and no accident where much does.
    seconds.append(sum(after[2:4]) - sum(before[2:4]))
  assert min(seconds) < 3
  text = out + err
  assert 'python launch.py --config=configs/cnn_adv.py\n' in text
  for word in ('--workdir', '--progress', '--config.optimizer.learning_rate=3e-4', 'resumes'):
    assert word in text
  assert 'Traceback' not in text
  assert status in (0, 1)  # absl ends its help with 1


def test_help_of_the_other_commands(capsys) -> None:
  status, out, _ = run(*MODULE, '--help')
  assert status == 0
  assert 'python -m cifar_jax evaluate runs/cnn_adv' in out
  for verb, option in (('evaluate', '--checkpoint'), ('summary', '--image_shape')):
    assert verb in out
    status, text, _ = called(capsys, verb, '--help')
    assert status == 0
    assert option in text
    assert f'python -m cifar_jax {verb} ' in text


def test_help_needs_neither_jax_nor_tensorflow() -> None:
  code = (
    'import sys, launch, cifar_jax.config, cifar_jax.commands\n'
    'cifar_jax.commands.make_parser()\n'
    "heavy = ('jax', 'jaxlib', 'flax', 'optax', 'orbax', 'clu', 'tensorflow')\n"
    'print([name for name in heavy if name in sys.modules])'
  )
  status, out, err = run('-c', code)
  assert (status, out.strip()) == (0, '[]'), err


NO_DATA = '--config.data.dir=/nowhere/at/all'
MISTAKES = {
  'no config': ([], '--config'),
  'no such file': (['--config=configs/cnn_avd.py'], 'configs/cnn_adv.py'),
  'unknown key': ([ADV, '--config.epoch=3'], '--config.epochs'),
  'wrong type': ([ADV, '--config.epochs=many'], '--config.epochs takes a whole number'),
  'unknown flag': ([ADV, '--workdri=x'], 'workdri'),
  'no such progress': ([ADV, '--progress=loud'], 'progress'),
  'stray word': ([ADV, 'config.epochs=3', NO_DATA], 'config.epochs=3'),
  'impossible value': ([ADV, '--config.batch_size=0'], '--config.batch_size must be'),
  'too many devices': ([ADV, '--config.devices=999', '--config.data.name=synthetic'], '999'),
  'no such data': ([ADV, NO_DATA], '/nowhere/at/all'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes_are_one_line_and_status_2(tmp_path, name) -> None:
  arguments, words = MISTAKES[name]
  if arguments:
    arguments = [*arguments, f'--workdir={tmp_path / "run"}', '--config.tensorboard=False']
  done = warm_process.run(as_script, *LAUNCH, *arguments)
  assert done.returncode == 2, done.stderr
  assert 'Epoch' not in done.stdout
  assert words in one_error(done.stderr)
  assert not (tmp_path / 'run').exists()  # nothing is left behind by a mistake


def test_folders_that_cannot_be_made(tmp_path, monkeypatch) -> None:
  """Without a cache training goes on, and says so; without a run folder it does not."""
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'file' / 'cache'))
  status, _, err = run(
    *LAUNCH,
    *('--config=configs/quickstart.py', '--config.tensorboard=False'),
    f'--workdir={tmp_path / "file" / "run"}',
  )
  assert status == 2
  warning, _, rest = err.partition('\n')
  assert warning.startswith(f'WARNING: {tmp_path / "file" / "cache"} cannot be written')
  assert str(tmp_path / 'file' / 'run') in one_error(rest)


def test_run_folder_is_named_after_the_config(tiny_data, tmp_path) -> None:
  """And the last words are commands that work there."""
  process = run_python(
    str(REPOSITORY / 'launch.py'),
    f'--config={REPOSITORY / "tests" / "helpers" / "tiny.py"}',
    *(f'--config.data.dir={tiny_data}', '--config.epochs=1'),
    *(f'--config.{option}={value!r}' for option, value in LINEAR.items()),
    cwd=tmp_path,
  )
  assert process.returncode == 0, process.stderr
  assert {path.name for path in (tmp_path / 'runs' / 'tiny').iterdir()} >= {
    *('config.json', 'metrics.csv', 'summary.json', 'checkpoints', 'best'),
  }
  assert process.stderr == ''
  assert 'Epoch 1/1 - ' in process.stdout
  assert process.stdout.strip().endswith('python -m cifar_jax evaluate runs/tiny')


def test_summary_is_the_drawing_of_the_article(capsys) -> None:
  """That of the network of D0 in tests/analysis/test_layer_table.py, on one's own terminal."""
  status, out, err = called(capsys, 'summary', f'--config={REPOSITORY}/configs/cnn_adv.py')
  assert (status, err) == (0, '')
  assert out.rstrip('\n') == (ASCII / 'cnn_adv.txt').read_text().rstrip('\n')


def test_summary_takes_overrides_and_other_images(capsys) -> None:
  config = f'--config={REPOSITORY}/configs/lr.py'
  _, table, _ = called(capsys, 'summary', config, '--table')
  assert '30,730' in table  # 32 * 32 * 3 * 10 + 10
  _, table, _ = called(
    capsys, 'summary', config, '--table', '--image_shape=28,28,1', '--num_classes=5'
  )
  assert '3,925' in table  # 28 * 28 * 5 + 5
  _, table, _ = called(
    capsys, 'summary', config, '--table', "--config.model.head=('flatten','dense 7')"
  )
  assert f'{3072 * 7 + 7 + 7 * 10 + 10:,}' in table


def test_summary_uses_what_the_config_knows(capsys, tmp_path) -> None:
  """The numbers of parameters are the article's, for two classes of 150x150 pixels, and those of a
  linear network. What no config says is said on stderr.
  """
  catsdogs = f'--config={REPOSITORY}/configs/catsdogs_scratch.py'
  for number, class_name in enumerate(('train/cats', 'train/dogs', 'validation/cats')):
    (tmp_path / class_name).mkdir(parents=True)
    (tmp_path / class_name / f'{number}.png').write_bytes(b'')
  for arguments in (['--num_classes=2'], [f'--config.data.dir={tmp_path}']):
    status, table, err = called(capsys, 'summary', catsdogs, '--table', *arguments)
    assert (status, err) == (0, '')
    assert 'Total params: 1,355,938\n' in table
  _, table, err = called(capsys, 'summary', catsdogs, '--table')
  assert f'Total params: {1_355_938 + 65 * 8:,}\n' in table
  assert err == (
    'note: without its data the config does not say the number of classes: 10 here; '
    '--num_classes=N sets it\n'
  )
  lr = f'--config={REPOSITORY}/configs/lr.py'
  for options, inputs, classes, notes in (
    (['--config.data.name=mnist'], 28 * 28, 10, 0),
    (['--config.data.name=mnist', '--config.data.channels=3'], 28 * 28 * 3, 10, 0),
    (['--config.data.name=cifar100'], 32 * 32 * 3, 100, 0),
    (['--config.data.pad_to=40'], 40 * 40 * 3, 10, 0),
    (['--config.data.name=mine'], 32 * 32 * 3, 10, 2),
    (['--config.data.name=mine', '--num_classes=7'], 32 * 32 * 3, 7, 1),
    (['--config.data.dir=cifar10.npz', '--image_shape=9,9,3'], 9 * 9 * 3, 10, 1),
  ):
    _, table, err = called(capsys, 'summary', lr, '--table', *options)
    assert f'Total params: {(inputs + 1) * classes:,}\n' in table
    assert err.count('note: ') == notes


def test_summary_of_a_network_of_gray_images(capsys) -> None:
  _, out, _ = called(capsys, 'summary', f'--config={REPOSITORY}/configs/lenet5.py')
  assert out.rstrip('\n') == (ASCII / 'lenet5.txt').read_text().rstrip('\n')


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['summary', '--config=configs/nothing.py'], 'configs/nothing.py'),
    (['summary', f'--config={REPOSITORY}/configs/lr.py', '--image_shape=32'], '32,32,3'),
    (['summary', f'--config={REPOSITORY}/configs/lr.py', '--config.seeed=1'], '--config.seed'),
    (['summary', f'--config={REPOSITORY}/configs/lr.py', '--config.epochs=0'], '--config.epochs'),
    (['summary', f'--config={REPOSITORY}/configs/lr.py', '--image_shape=0,0,0'], 'image_shape'),
    (['summary', f'--config={REPOSITORY}/configs/lr.py', '--num_classes=0'], 'num_classes'),
    (
      ['summary', f'--config={REPOSITORY}/configs/cnn_adv.py', '--image_shape=2,2,3'],
      'larger images',
    ),
  ],
)
def test_summary_mistakes(capsys, arguments, words) -> None:
  status, out, err = called(capsys, *arguments)
  assert (status, out) == (2, '')
  assert words in one_error(err)


@pytest.mark.parametrize(
  'arguments',
  [
    ['evalute', 'runs/x'],
    ['evaluate'],
    ['evaluate', 'runs/x', '--split=tset'],
    ['evaluate', 'runs/x', '--chekpoint=best'],
    ['evaluate', 'runs/x', '--config.epochs=3'],
    ['summary'],
    ['summary', '--config=configs/lr.py', 'stray'],
  ],
)
def test_mistyped_words_are_refused(capsys, arguments) -> None:
  """argparse shows the usage and then the error."""
  status, out, err = called(capsys, *arguments)
  assert (status, out) == (2, '')
  assert 'error: ' in err.splitlines()[-1]
  assert 'Traceback' not in err


def test_evaluate_a_folder_that_is_no_run(capsys, tmp_path) -> None:
  for folder in (tmp_path, tmp_path / 'missing'):
    status, out, err = called(capsys, 'evaluate', str(folder))
    assert (status, out) == (2, '')
    assert one_error(err) == (f'error: {folder} is not the folder of a run: it has no config.json')
  assert list(tmp_path.iterdir()) == []


def test_evaluate_a_run(capsys, tiny_run) -> None:
  run_folder = tiny_run
  results = json.loads((run_folder / 'summary.json').read_text())
  before = {path: path.stat().st_mtime_ns for path in run_folder.rglob('*')}
  capsys.readouterr()

  status, out, _ = called(capsys, 'evaluate', str(run_folder))
  assert status == 0
  accuracy = f'{100 * results["test_accuracy"]:.2f} %'
  assert f'test loss {results["test_loss"]:.4f}, accuracy {accuracy} (90 examples of tiny' in out
  assert 'checkpoint of step 8' in out
  _, out, _ = called(capsys, 'evaluate', str(run_folder), '--json', '--split=validation')
  found = json.loads(out)
  assert found['accuracy'] == pytest.approx(results['val_accuracy'])
  assert (found['examples'], found['step'], found['split']) == (20, 8, 'validation')
  _, out, _ = called(capsys, 'evaluate', str(run_folder), '--json', '--checkpoint=4')
  assert json.loads(out)['step'] == 4

  for arguments, words in [
    (['--checkpoint=17'], 'no checkpoint of step 17; it has ['),
    (['--checkpoint=newest'], "'newest' is not 'latest', 'best' or a step number"),
    (['--data_dir=/nowhere/at/all'], '/nowhere/at/all'),
  ]:
    status, _, err = called(capsys, 'evaluate', str(run_folder), *arguments)
    assert status == 2
    assert words in err.splitlines()[-1]
  assert {path: path.stat().st_mtime_ns for path in run_folder.rglob('*')} == before


def test_evaluate_a_run_without_checkpoints(capsys, tiny_config, tmp_path) -> None:
  from cifar_jax import config as configs

  configs.save(tiny_config, tmp_path)
  status, _, err = called(capsys, 'evaluate', str(tmp_path))
  assert status == 2
  assert "has no 'latest' checkpoint yet" in err.splitlines()[-1]
