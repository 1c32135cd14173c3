"""Machines with accelerators that are not there, and installations that are not either."""

import pathlib
import stat

_NVIDIA, _GOOGLE = '0x10de', '0x1ae0'


def make_root(
  folder: pathlib.Path,
  *,
  devices: tuple[str, ...] = (),
  pci: tuple[tuple[str, str, str], ...] = (),
  amd: tuple[int, ...] = (),
) -> pathlib.Path:
  """A root folder with files of devices, PCI devices by vendor, number and class, and AMD's GPUs
  (and its processors, 0) by the numbers that their driver gives.
  """
  for index, number in enumerate(amd):
    path = folder / f'sys/class/kfd/kfd/topology/nodes/{index}/properties'
    path.parent.mkdir(parents=True)
    path.write_text(f'simd_count 304\ngfx_target_version {number}\nvendor_id 4098\n')
  for name in devices:
    path = folder / 'dev' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  for index, texts in enumerate(pci):
    path = folder / f'sys/bus/pci/devices/0000:00:0{index}.0'
    path.mkdir(parents=True)
    for name, text in zip(('vendor', 'device', 'class'), texts, strict=True):
      (path / name).write_text(f'{text}\n')
  return folder


def install(folder: pathlib.Path, **versions: str) -> pathlib.Path:
  """Metadata of packages, as pip leaves it: jax_cuda12_plugin='0.7.2'."""
  for name, version in versions.items():
    lines = ['Metadata-Version: 2.1', f'Name: {name.replace("_", "-")}', f'Version: {version}']
    if name == 'jax':
      lines += ['Provides-Extra: tpu', 'Requires-Dist: jaxlib<=0.12.0.1,>=0.11.2']
      lines += ['Requires-Dist: libtpu==0.0.50.*; extra == "tpu"']
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('\n'.join(lines) + '\n')
    if name.endswith('_pjrt'):
      module = folder / 'jax_plugins' / f'xla_{name.removeprefix("jax_").removesuffix("_pjrt")}'
      module.mkdir(parents=True)
      (module / '__init__.py').touch()
    elif name == 'libtpu':
      (folder / 'libtpu.py').touch()
  return folder


def nvidia_smi(folder: pathlib.Path, script: str) -> pathlib.Path:
  """A folder for the PATH with an nvidia-smi that runs a shell script."""
  return program(folder, 'nvidia-smi', script)


def program(folder: pathlib.Path, name: str, script: str) -> pathlib.Path:
  """A folder for the PATH with a program that is a shell script."""
  folder.mkdir(exist_ok=True)
  path = folder / name
  path.write_text(f'#!/bin/sh\n{script}\n')
  path.chmod(path.stat().st_mode | stat.S_IXUSR)
  return folder
