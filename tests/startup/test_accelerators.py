"""Accelerators where there are none: files, packages, variables and nvidia-smi are made up."""

import os
import pathlib
import sys
import time
import types

import packaging.specifiers  # noqa: F401  The fake installations below hide it.
import pytest

from cifar_jax.startup import accelerators, installed, xla_flags
from cifar_jax.startup.accelerators import find, runs_on_cpu, unused_note
from cifar_jax.utils.errors import UserError
from tests.helpers.fake_machine import install, make_root, nvidia_smi, program

JAX = {'jax': '0.12.0.1', 'jaxlib': '0.12.0.1'}
OLD = {'jax_cuda12_plugin': '0.7.2', 'jax_cuda12_pjrt': '0.7.2'}
NEW = {'jax_cuda12_plugin': '0.12.0.1', 'jax_cuda12_pjrt': '0.12.0.1'}
GPU = {'devices': ('nvidia0', 'nvidiactl')}
TPU = {'pci': (('0x1ae0', '0x0063', '0x120000'),)}
LISTS_A_GPU = 'echo "GPU 0: Tesla T4 (UUID: GPU-1)"'


class FakeJax(types.ModuleType):
  """A JAX with a CPU, or with the backend given, or one that fails."""

  def __init__(self, backend: str = 'cpu', error: Exception | None = None):
    super().__init__('jax')
    self.backend, self.error, self.asked = backend, error, 0

  def default_backend(self) -> str:
    self.asked += 1
    if self.error:
      raise self.error
    return self.backend

  def devices(self, platform: str) -> list:
    raise RuntimeError(f"Backend '{platform}' failed to initialize: the lock is held by pid 77.")


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """Makes a machine: its packages, devices and nvidia-smi; returns its root folder and its JAX."""

  def make(
    packages: dict[str, str], hardware: dict, smi: str = '', jax: FakeJax | None = None
  ) -> tuple[pathlib.Path, FakeJax]:
    site = install(tmp_path / 'site', **packages)
    monkeypatch.setattr(sys, 'path', [str(site)])
    for name in ('jax_plugins', 'libtpu'):
      monkeypatch.delitem(sys.modules, name, raising=False)
    jax = jax or FakeJax()
    monkeypatch.setitem(sys.modules, 'jax', jax)
    programs = nvidia_smi(tmp_path / 'bin', smi) if smi else tmp_path
    monkeypatch.setenv('PATH', f'{programs}{os.pathsep}/usr/bin{os.pathsep}/bin')
    return make_root(tmp_path / 'root', **hardware), jax

  accelerators.nvidia_smi.cache_clear()
  yield make
  accelerators.nvidia_smi.cache_clear()


def test_a_plugin_of_another_version(machine):
  root, _ = machine({**JAX, **OLD}, GPU, LISTS_A_GPU)
  assert unused_note({}, root) == (
    'the CPU is used, not Tesla T4 (/dev/nvidia0): jax-cuda12-plugin is of version 0.7.2 and '
    'jaxlib of 0.12.0.1, and JAX ignores a plugin of another version; mend it with: '
    'pip install -U "jax[cuda12]"'
  )
  assert runs_on_cpu({}, root)


@pytest.mark.parametrize('smi', [LISTS_A_GPU, ''])
def test_no_plugin(machine, smi):
  root, _ = machine(JAX, GPU, smi)
  note = unused_note({}, root)
  assert 'no CUDA plugin of JAX is installed' in note
  assert note.endswith('mend it with: pip install -U "jax[cuda12]"')
  assert ('Tesla T4' in note) == bool(smi)
  assert runs_on_cpu({}, root)


def test_a_gpu_that_only_nvidia_smi_shows(machine):
  root, _ = machine({**JAX, **OLD}, {}, LISTS_A_GPU)
  assert 'Tesla T4 (nvidia-smi): jax-cuda12-plugin is of version 0.7.2' in unused_note({}, root)


def test_one_package_of_the_plugin_alone(machine):
  root, _ = machine({**JAX, 'jax_cuda13_plugin': '0.12.0.1'}, GPU)
  assert 'jax-cuda13-pjrt is missing beside its counterpart' in unused_note({}, root)
  assert 'jax[cuda13]' in unused_note({}, root)


def test_one_plugin_that_fits_is_enough(machine):
  fits = {'jax_cuda13_plugin': '0.12.0.1', 'jax_cuda13_pjrt': '0.12.0.1'}
  root, _ = machine({**JAX, **OLD, **fits}, GPU, jax=FakeJax('gpu'))
  assert not runs_on_cpu({}, root)
  assert unused_note({}, root) == ''


def test_a_plugin_without_a_gpu_is_no_accelerator(machine):
  root, jax = machine({**JAX, **NEW}, {})
  assert runs_on_cpu({}, root)
  assert unused_note({}, root) == ''
  assert not jax.asked  # it costs no start of JAX


def test_an_accelerator_in_use_is_not_spoken_of_and_nvidia_smi_not_asked(machine, tmp_path):
  root, _ = machine({**JAX, **NEW}, GPU, f'touch {tmp_path}/asked', FakeJax('gpu'))
  assert not runs_on_cpu({}, root)
  assert unused_note({}, root) == ''
  assert not (tmp_path / 'asked').exists()


@pytest.mark.parametrize('name', ['JAX_PLATFORMS', 'JAX_PLATFORM_NAME'])
def test_the_cpu_may_be_meant(machine, name):
  root, jax = machine({**JAX, **OLD}, GPU, LISTS_A_GPU)
  assert unused_note({name: 'cpu'}, root) == ''
  assert not jax.asked


@pytest.mark.parametrize(
  ('value', 'hidden'), [('', True), ('-1', True), ('none', True), ('0', False), ('GPU-12', False)]
)
def test_a_variable_hides_the_gpu(machine, value, hidden):
  root, _ = machine({**JAX, **NEW}, GPU)
  note = unused_note({'CUDA_VISIBLE_DEVICES': value}, root)
  assert (f'CUDA_VISIBLE_DEVICES={value} in the environment hides it' in note) == hidden
  assert runs_on_cpu({'CUDA_VISIBLE_DEVICES': value}, root) == hidden


@pytest.mark.parametrize(
  ('smi', 'said'),
  [
    ('sleep 60', 'nvidia-smi did not end within 0.3 seconds'),
    ('sleep 60 & wait', 'nvidia-smi did not end within 0.3 seconds'),
    ('printf "\\033[1m\\377\\000x\\n"', 'nvidia-smi says: [1m'),
    (
      'echo "couldn\'t communicate with the driver." >&2; exit 9',
      "nvidia-smi says: couldn't communicate",
    ),
    ('exit 3', 'nvidia-smi says nothing'),
  ],
)
def test_a_driver_that_does_not_answer(machine, monkeypatch, smi, said):
  monkeypatch.setattr(accelerators, '_SECONDS_FOR_NVIDIA_SMI', 0.3)
  root, _ = machine({**JAX, **NEW}, GPU, smi)
  start = time.monotonic()
  note = unused_note({}, root)
  assert f'its driver does not answer ({said}' in note
  assert note.isprintable()
  assert time.monotonic() - start < 10


def test_an_error_of_a_working_driver_is_told_in_the_words_of_jax(machine):
  root, _ = machine({**JAX, **NEW}, GPU, LISTS_A_GPU)
  assert "JAX says: Backend 'cuda' failed to initialize: the lock is held" in unused_note({}, root)


def test_a_gpu_without_a_driver(machine):
  hardware = {'pci': (('0x10de', '0x1eb8', '0x030200'), ('0x10de', '0x10f8', '0x040300'))}
  root, _ = machine({**JAX, **NEW}, hardware)
  assert 'docker run --gpus all' in unused_note({}, root)
  assert runs_on_cpu({}, root)


def test_wsl_has_its_device_on_every_machine(machine):
  root, _ = machine(JAX, {'devices': ('dxg',)})
  assert find({}, root) == []
  (root / 'usr/lib/wsl/lib').mkdir(parents=True)
  (root / 'usr/lib/wsl/lib/libcuda.so.1').touch()
  assert [one.sign for one in find({}, root)] == ['/dev/dxg']


@pytest.mark.parametrize(
  ('environment', 'hardware', 'name'),
  [
    ({}, TPU, 'TPU v5e (PCI 0000:00:00.0)'),
    ({}, {'devices': ('accel0',)}, 'TPU (/dev/accel0)'),
    ({'TPU_ACCELERATOR_TYPE': 'v5litepod-1'}, {}, 'TPU v5litepod-1 (TPU_ACCELERATOR_TYPE)'),
  ],
)
def test_a_tpu_without_libtpu(machine, environment, hardware, name):
  root, _ = machine(JAX, hardware)
  assert unused_note(environment, root) == (
    f'the CPU is used, not {name}: libtpu is not installed; mend it with: pip install -U "jax[tpu]"'
  )
  assert runs_on_cpu(environment, root)


def test_other_devices_of_the_maker_of_tpus_and_of_other_makers(machine):
  hardware = {
    'pci': (('0x1ae0', '0x0042', '0x020000'), ('0x8086', '0x0063', '0x030000')),
    'devices': ('accel/accel0', 'vfio/0', 'vfio/vfio', 'nvidia-uvm', 'nvidiafoo'),
  }
  root, _ = machine(JAX, hardware)
  assert find({}, root) == []


def test_a_libtpu_of_another_version(machine):
  root, _ = machine({**JAX, 'libtpu': '0.0.21.1'}, TPU)
  note = unused_note({}, root)
  assert 'libtpu is of version 0.0.21.1 and jax 0.12.0.1 wants ==0.0.50.*' in note
  assert note.endswith('pip install -U "jax[tpu]"')
  assert not runs_on_cpu({}, root)  # it may work all the same


@pytest.mark.parametrize('backend', ['tpu', 'cpu'])
def test_a_libtpu_that_fits(machine, backend):
  root, _ = machine({**JAX, 'libtpu': '0.0.50.2'}, TPU, jax=FakeJax(backend))
  assert not runs_on_cpu({}, root)
  assert ('the lock is held by pid 77' in unused_note({}, root)) == (backend == 'cpu')


def test_libtpu_without_a_tpu_leaves_the_cpu(machine):
  root, _ = machine({**JAX, 'libtpu': '0.0.50.2'}, {})
  assert runs_on_cpu({}, root)


def test_jax_that_cannot_start_is_a_mistake_of_the_user(machine):
  jax = FakeJax(error=RuntimeError("No backend 'cuda'"))
  root, _ = machine({**JAX, **OLD}, GPU, jax=jax)
  with pytest.raises(UserError, match=r"backend 'cuda'.*0\.7\.2.*JAX_PLATFORMS=cpu.*doctor"):
    unused_note({'JAX_PLATFORMS': 'cuda'}, root)


def test_a_platform_that_is_not_here(machine):
  """JAX raises an AssertionError without a word."""
  root, _ = machine(JAX, {}, jax=FakeJax(error=AssertionError()))
  with pytest.raises(UserError, match='no device of the kind that JAX_PLATFORMS names, cuda'):
    unused_note({'JAX_PLATFORMS': 'cuda'}, root)


AMD = {'devices': ('kfd',), 'amd': (0, 90402)}  # a processor and an MI300


def test_a_gpu_of_amd_without_its_plugin(machine):
  root, _ = machine(JAX, AMD)
  assert unused_note({}, root) == (
    'the CPU is used, not AMD GPU (/dev/kfd): no ROCm plugin of JAX is installed; mend it with: '
    'pip install -U "jax[rocm7-local]"'
  )
  assert runs_on_cpu({}, root)


def test_a_plugin_of_rocm_of_another_version(machine):
  old = {'jax_rocm7_plugin': '0.7.1', 'jax_rocm7_pjrt': '0.7.1'}
  root, _ = machine({**JAX, **old}, AMD)
  assert 'AMD GPU (/dev/kfd): jax-rocm7-plugin is of version 0.7.1' in unused_note({}, root)
  assert runs_on_cpu({}, root)


def test_a_gpu_of_amd_in_use(machine):
  fits = {'jax_rocm7_plugin': '0.12.0.1', 'jax_rocm7_pjrt': '0.12.0.1'}
  root, _ = machine({**JAX, **fits}, AMD, jax=FakeJax('gpu'))
  assert not runs_on_cpu({}, root)
  assert unused_note({}, root) == ''


def test_a_part_of_a_processor_is_no_accelerator_where_nobody_installed_rocm(machine, tmp_path):
  root, _ = machine(JAX, {'devices': ('kfd',), 'amd': (0, 90012)})
  assert find({}, root) == []
  program(tmp_path, 'rocm-smi', 'exit 0')
  assert [one.platform for one in find({}, root)] == ['rocm']


@pytest.mark.parametrize(
  ('version', 'wanted', 'fits'),
  [
    ('0.0.50.1', '==0.0.50.*', True),
    ('0.0.49', '==0.0.50.*', False),
    ('0.0.50', '@https://example.org/libtpu.whl', True),
    ('0.0.50', '=0.0.50', True),
    ('0.0.50', None, True),
  ],
)
def test_what_is_no_version_is_no_objection_to_libtpu(version, wanted, fits):
  assert installed.libtpu_fits(version, wanted) == fits


def test_a_plugin_of_which_nothing_is_known_may_work(machine, tmp_path):
  root, _ = machine(JAX, {})
  assert runs_on_cpu({}, root)
  (tmp_path / 'site/jax_plugins/another').mkdir(parents=True)
  (tmp_path / 'site/jax_plugins/another/__init__.py').touch()
  assert not runs_on_cpu({}, root)


def test_a_plugin_that_was_not_installed_by_pip_may_work(machine, tmp_path):
  root, _ = machine(JAX, GPU)
  (tmp_path / 'site/jax_plugins/xla_cuda12').mkdir(parents=True)
  (tmp_path / 'site/jax_plugins/xla_cuda12/__init__.py').touch()
  assert not runs_on_cpu({}, root)


def test_damaged_metadata_is_no_version(machine, tmp_path):
  machine(JAX, {})
  (tmp_path / 'site/jaxlib-0.12.0.1.dist-info/METADATA').write_bytes(b'\xff\xfe\x00')
  assert installed.version('jaxlib') is None
  assert installed.version('jax') == '0.12.0.1'


@pytest.mark.parametrize(
  ('one', 'other', 'same'),
  [
    ('0.12.0.1', '0.12.0.1', True),
    ('0.12.0', '0.12.0.dev20260101+cuda', True),
    ('0.12.0', '0.12.0.1', False),
    ('unknown', 'unknown', False),
  ],
)
def test_versions_are_compared_as_jaxlib_does(one, other, same, recwarn):
  assert installed.same_version(one, other) == same
  support = pytest.importorskip('jaxlib.plugin_support')
  if same or one != other:
    assert support.check_plugin_version('jax_cuda12_plugin', one, other) == same


def test_the_settings_of_the_cpu_come_with_a_plugin_that_cannot_work(machine, monkeypatch):
  """They were left out wherever a plugin was installed."""
  root, _ = machine({**JAX, **OLD}, GPU)
  monkeypatch.setattr(xla_flags.trials, 'objection', lambda *_: '')
  monkeypatch.setattr(xla_flags.platform, 'machine', lambda: 'x86_64')
  monkeypatch.setattr(xla_flags, 'runs_on_cpu', lambda environment: runs_on_cpu(environment, root))
  assert '--xla_cpu' in xla_flags.set_flags({})


def test_the_line(machine, monkeypatch, capsys):
  monkeypatch.setattr(accelerators, 'unused_note', lambda: 'the CPU is used, not a GPU')
  accelerators.warn_if_unused()
  out, err = capsys.readouterr()
  assert out == ''
  assert err == f'WARNING: the CPU is used, not a GPU; {accelerators.CPU_IS_MEANT}\n'
