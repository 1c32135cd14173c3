"""What Linux says of processors, of two kinds."""

import pathlib

import pytest

from cifar_jax.startup import processor

X86 = 'processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f\n\n'
ARM = 'processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm\nCPU part\t: 0xd0c\n\n'


@pytest.mark.parametrize(
  ('text', 'features'), [(X86, {'fpu', 'avx2', 'avx512f'}), (ARM, {'fp', 'asimd', 'evtstrm'})]
)
def test_instruction_sets(monkeypatch, text, features) -> None:
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda *_: 2 * text)
  processor._linux_says.cache_clear()
  try:
    assert processor.features() == features
  finally:
    processor._linux_says.cache_clear()
