"""The table of the TPU compiler; and, where the compiler is installed, what it says (slow)."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import command_line, tables
from benchmarks.speed import tpu
from benchmarks.speed.systems import tpu_compiler
from cifar_jax import config as configs
from cifar_jax.trainer.build import build_trainer
from cifar_jax.training.tasks import MULTI_LABEL
from tests.helpers import REPOSITORY

# A step of two fusions, one of them in a branch, and a loop of three passes; collectives, sent and
# awaited.
PROGRAM = """\
HloModule jit_train_steps, is_scheduled=true

%fused (param_0: f32[8]) -> f32[8] {
  ROOT %add = f32[8]{0} add(%param_0, %param_0), backend_config={"estimated_cycles":"7777"}
}

%inner_body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %fusion.9 = f32[8]{0} fusion(%x), calls=%fused, backend_config={"estimated_cycles":"5"}
}

%inner_condition (arg: (s32[], f32[8])) -> pred[] {
  %constant.9 = s32[]{:T(128)} constant(3)
  ROOT %compare = pred[]{:T(512)} compare(%i, %constant.9), direction=LT
}

%condition (arg: (s32[], f32[8])) -> pred[] {
  %constant.1 = s32[]{:T(128)} constant(390)
  ROOT %compare.1 = pred[]{:T(512)} compare(%i, %constant.1), direction=LT
}

%yes (arg.1: f32[8]) -> f32[8] {
  %fusion.8 = f32[8]{0} fusion(%x), calls=%fused, backend_config={"estimated_cycles":"20"}
}

%no (arg.2: f32[8]) -> f32[8] {
  ROOT %copy = f32[8]{0} copy(%x)
}

%body (arg.3: (s32[], f32[8])) -> (s32[], f32[8]) {
  %fusion.1 = f32[8]{0} fusion(%x), calls=%fused, backend_config={"estimated_cycles":"100"}
  %all-reduce.1 = (f32[8]{0}, f32[3,3]{1,0:T(8,128)S(1)}) all-reduce(%a, %b), channel_id=1
  %all-gather-start = (f32[8]{0}, f32[64]{0}) all-gather-start(%fusion.1), channel_id=2
  %all-gather-done = f32[64]{0} all-gather-done(%all-gather-start)
  %while.2 = (s32[], f32[8]) while(%t), condition=%inner_condition, body=%inner_body
  %conditional = f32[8]{0} conditional(%p, %u, %v), branch_computations={%yes, %no}
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %copy.1 = u8[50000,32,32,3]{2,1,3,0} copy(%p), backend_config={"estimated_cycles":"9000"}
  %while.1 = (s32[], f32[8]) while(%t), condition=%condition, body=%body, backend_config={}
  %all-reduce.2 = f32[]{:T(128)} all-reduce(%m), channel_id=3
}
"""


def test_the_cost_of_a_step_and_what_is_done_once() -> None:
  found = tpu_compiler.cost(PROGRAM)
  assert found.step == 100 + 20 + 3 * 5
  assert found.once == 9000
  assert found.collectives == {'all-reduce': 1, 'all-gather': 1}


def test_a_program_of_one_step_has_no_loop() -> None:
  text = PROGRAM[: PROGRAM.index('ENTRY')] + (
    'ENTRY %main (p: f32[8]) -> f32[8] {\n'
    '  %fusion.1 = f32[8]{0} fusion(%x), kind=kLoop, backend_config={"estimated_cycles":"42"}\n'
    '  %all-reduce.2 = f32[]{:T(128)} all-reduce(%m), channel_id=3\n}\n'
  )
  assert tpu_compiler.cost(text) == (42, 0, {'all-reduce': 1})


@pytest.mark.parametrize(
  ('config', 'train', 'validation', 'shape', 'classes'),
  [
    ('cnn_adv', 50_000, 10_000, (32, 32, 3), 10),
    ('resnet20', 45_000, 5_000, (32, 32, 3), 10),
    ('quickstart', 10_000, None, (32, 32, 3), 10),
    ('lenet5', 60_000, None, (32, 32, 1), 10),
    ('catsdogs_scratch', 1_600, 400, (150, 150, 3), 2),
  ],
)
def test_blank_images_are_as_many_and_as_large_as_those_of_the_config(
  config, train, validation, shape, classes
) -> None:
  overrides = ['--config.data.name=mnist'] if config == 'lenet5' else []
  splits = tpu_compiler.blank_splits(configs.load(f'{REPOSITORY}/configs/{config}.py', overrides))
  held = len(splits.validation) if not splits.validation_is_test else 0
  assert len(splits.train) + (held if validation is None else 0) == train
  assert validation is None or len(splits.validation) == validation
  assert (splits.image_shape, splits.num_classes) == (shape, classes)
  assert splits.train.images.dtype == np.uint8


def test_blank_images_have_several_labels_where_the_config_says_so() -> None:
  config = configs.load(f'{REPOSITORY}/configs/multi_label.py')
  splits = tpu_compiler.blank_splits(config)
  assert splits.train.labels.shape == (len(splits.train), 2)
  assert build_trainer(config, splits).recipe.task is MULTI_LABEL


def columns(config: str, topology: str, program: str) -> dict:
  """What a process with the compiler's environment finds."""
  command = [sys.executable, '-m', tpu_compiler.__name__, f'configs/{config}.py', topology, program]
  environment = {**os.environ, **tpu_compiler.ENVIRONMENT, 'XLA_FLAGS': ''}
  environment.pop('JAX_DISABLE_MOST_OPTIMIZATIONS', None)
  found = subprocess.run(
    command, env=environment, capture_output=True, text=True, cwd=REPOSITORY, check=True
  )
  return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture
def compiled(monkeypatch):
  """The programs that a stand-in for the compiler was given."""
  asked = []

  def compile_program(row, overrides):
    asked.append((row['config'], row['topology'], row['program']))
    if row['program'] == 'last_batch' and row['config'] == 'airbench94':
      return {}
    if row['config'] == 'alexnet':
      return None
    numbers = dict.fromkeys(
      ('compile_seconds', 'compile_cpu_seconds', 'arguments_mib', 'temporaries_mib', 'code_mib'),
      1.0,
    )
    return {**numbers, 'collectives': '', 'estimated_cycles': 2e6, 'estimated_cycles_once': 0}

  monkeypatch.setattr(tpu, '_compile', compile_program)
  monkeypatch.setattr(tpu, 'commit', lambda: 'abc1234')
  monkeypatch.setattr(tpu_compiler, 'check_installed', lambda: None)
  monkeypatch.setattr(tpu_compiler, 'version', lambda: '0.0.1')
  return asked


def measure(path, *words: str) -> None:
  command_line.main(['tpu', f'--out={path}', *words])


def test_rows_that_are_there_are_not_compiled_again(compiled, tmp_path, monkeypatch) -> None:
  path = tmp_path / 'tpu.csv'
  one = ('--configs=lr,airbench94', '--topologies=v5e:1x1', '--programs=epoch,last_batch')
  measure(path, *one)
  assert len(compiled) == 4
  rows = tables.read(path)
  assert [(row['config'], row['program']) for row in rows] == [
    ('airbench94', 'epoch'),
    ('lr', 'epoch'),
    ('lr', 'last_batch'),
  ]
  assert {row['commit'] for row in rows} == {'abc1234'}
  compiled.clear()
  measure(path, '--configs=lr', '--topologies=v5e:1x1,v5e:2x2', '--programs=epoch')
  assert compiled == [('lr', 'v5e:2x2', 'epoch')]
  compiled.clear()
  measure(path, '--configs=lr', '--topologies=v5e:2x2', '--programs=epoch', '--again')
  assert len(compiled) == 1
  assert len(tables.read(path)) == 4
  monkeypatch.setattr(
    tpu, 'commit', lambda: 'def5678'
  )  # other code: the row takes the old one's place
  measure(path, '--configs=lr', '--topologies=v5e:2x2', '--programs=epoch')
  assert len(compiled) == 2
  assert len(tables.read(path)) == 4


def test_what_cannot_be_compiled_is_named_at_the_end(compiled, tmp_path, capsys) -> None:
  path = tmp_path / 'tpu.csv'
  with pytest.raises(SystemExit) as end:
    measure(path, '--configs=alexnet,lr', '--topologies=v5e:1x1', '--programs=epoch')
  assert end.value.code == 2
  assert 'could not be compiled, see above: alexnet v5e:1x1 epoch' in capsys.readouterr().err
  assert [row['config'] for row in tables.read(path)] == ['lr']


def test_by_default_all_configs_and_two_of_them_on_several_hosts(compiled, tmp_path) -> None:
  with pytest.raises(SystemExit):  # the stand-in refuses one
    measure(tmp_path / 'tpu.csv', '--programs=epoch')
  assert len({name for name, _, _ in compiled}) == len(list(REPOSITORY.glob('configs/*.py'))) - 2
  assert {name for name, slice_, _ in compiled if slice_ == 'v5e:4x4'} == {'airbench94', 'cnn_adv'}
  assert {slice_ for name, slice_, _ in compiled if name == 'lr'} == {
    'v5e:1x1',
    'v6e:1x1',
    'v5e:2x2',
  }


@pytest.mark.parametrize(
  ('word', 'said'),
  [
    ('--configs=nonsense', '--configs=nonsense: there is no configs/nonsense.py'),
    ('--programs=epoch,all', '--programs=all is not among epoch, last_batch, evaluation, pmap'),
  ],
)
def test_mistakes_are_one_sentence(word, said, compiled, tmp_path, capsys) -> None:
  with pytest.raises(SystemExit) as end:
    measure(tmp_path / 'tpu.csv', word)
  assert end.value.code == 2
  assert capsys.readouterr().err.strip() == f'error: {said}'
  assert not compiled


def test_without_the_compiler_one_sentence_says_what_to_install(monkeypatch, capsys) -> None:
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(SystemExit) as end:
    command_line.main(['tpu', '--configs=lr'])
  assert end.value.code == 2
  said = capsys.readouterr().err
  assert said.count('\n') == 1
  assert f"pip install '{tpu_compiler.requirement()}'" in said
  assert tpu_compiler.requirement().startswith('libtpu==')


needs_compiler = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='the TPU compiler is not installed (libtpu)'
)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
  ('config', 'batch_norms'), [('lr', 0), ('cnn_adv', 3), ('resnet20', 19), ('vit_tiny', 0)]
)
def test_families_fit_a_chip_and_add_up_over_four_as_often_as_they_must(
  config, batch_norms
) -> None:
  """The gradients once, and the sums of each BatchNorm once forward and once backward."""
  for program in ('epoch', 'evaluation'):
    one = columns(config, 'v5e:1x1', program)
    assert one['collectives'] == ''
    used = one['arguments_mib'] + one['temporaries_mib'] + one['output_mib'] - one['shared_mib']
    assert used < 16 * 1024
    assert one['estimated_cycles'] > 0
    assert one['estimated_cycles_once'] < one['estimated_cycles']  # no copy of the data set
  four = columns(config, 'v5e:2x2', 'epoch')
  assert four['collectives'] == f'{2 * batch_norms + 1} all-reduce'


@needs_compiler
@pytest.mark.slow
def test_mapped_steps_compile_too() -> None:
  found = columns('cnn_adv', 'v5e:2x2', 'pmap')
  assert found['collectives'] == '7 all-reduce'  # gradients, and twice for each of three BatchNorms
  assert found['temporaries_mib'] < 1024
