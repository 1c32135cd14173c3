"""Ten steps on every kind of device, in processes of their own, and what their kernels were."""

import functools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from cifar_jax.commands.doctor import child
from cifar_jax.commands.doctor.findings import Finding

_SECONDS = 300  # 5 to 15
_TOLERANCE = 1e-3  # of losses and parameters, each relative
_REPORT = (
  'this is a fault of the toolkit or of JAX here: please report it with the output of --json'
)


def check_training() -> Iterator[Finding]:
  """Yields one finding per kind of device; nothing of what is trained is left behind."""
  answers = _ten_steps()
  if not answers:
    yield Finding('train_cpu', 'note', 'not tried, since JAX cannot be imported')
  for name, answer in answers.items():
    yield _judge(name, answer)


def check_kernels() -> Iterator[Finding]:
  """Yields which kernels the CPU trains with; XLA's own, if nothing better works, are slow."""
  facts = _ten_steps().get('cpu', child.Answer({}, 'it was not tried')).facts
  if 'library' not in facts:
    yield Finding('kernels', 'note', 'unknown, since training on the CPU did not get there')
    return
  told = {name: facts[name] for name in ('flags', 'chosen', 'library', 'objections')}
  used = ' and '.join(facts['library'])
  what = f'oneDNN for {used}' if used else "XLA's own, without oneDNN"
  what = f'{what}; {facts["flags"]}'
  for dtype, objection in facts['objections'].items():
    if objection:
      what = f'{what}; {dtype} is slow: {objection}'
      yield Finding('kernels', 'note', what, 'pip install -U jax jaxlib', told)
      return
  if not facts['chosen']:
    what = f'{what}; turned off by CIFAR_JAX_CPU_KERNELS or CIFAR_JAX_ONEDNN in the environment'
  yield Finding('kernels', 'ok', what, facts=told)


@functools.cache
def _ten_steps() -> Mapping[str, child.Answer]:
  """Kind of device -> what came of it; empty where JAX does not start."""
  probe = child.probe()
  if 'jax' not in probe.facts:
    return {}
  prefix = 'cifar_jax_doctor_'
  with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name_of_folder:
    folder = pathlib.Path(name_of_folder)
    answers = {'cpu': child.ask('ten_steps', [str(folder), 'cpu'], _SECONDS, _only_cpu())}
    if (name := probe.facts.get('backend', 'cpu')) != 'cpu' and (folder / 'cpu.npz').exists():
      precise = {'JAX_DEFAULT_MATMUL_PRECISION': 'highest'}
      arguments = [str(folder), name, 'cpu']
      answers[name] = child.ask('ten_steps', arguments, _SECONDS, precise)
  return answers


def _only_cpu() -> dict[str, str]:
  return {'JAX_PLATFORMS': 'cpu', 'JAX_PLATFORM_NAME': ''}


def _judge(name: str, answer: child.Answer) -> Finding:
  """What ten steps on a kind of device say."""
  facts: dict[str, Any] = answer.facts
  check = f'train_{name}'
  where = f'{facts["devices"]} x {facts["kind"]}: ' if 'kind' in facts else ''
  if answer.trouble:
    return Finding(check, 'fault', f'{where}ten steps failed: {answer.trouble}', facts=facts)
  faults = []
  if facts['steps'] != 10 or facts['resumed_steps'] != 10:
    faults.append(f'{facts["steps"]} and {facts["resumed_steps"]} steps were made in place of 10')
  if not facts['same_bits']:
    faults.append('stopped after five steps and resumed, it came to other bits')
  said = 'resumed after five, to the same bits'
  for key, other in (('difference', 'the CPU'), ('pmap_difference', 'pmap')):
    if key in facts:
      size = f'{facts[key]:.1e} (at most {_TOLERANCE:g})'
      said += f'; from {other} it differs by {size}'
      if not facts[key] <= _TOLERANCE:  # NaN as well
        faults.append(f'from {other} it differs by {size}')
  losses = ' -> '.join(f'{loss:.3f}' for loss in facts['losses'])
  if faults:
    return Finding(check, 'fault', f'{where}{"; ".join(faults)}', _REPORT, facts)
  what = f'{where}10 steps, loss {losses}; {said}; {facts["seconds"]:.0f} s in all'
  return Finding(check, 'ok', what, facts=facts)
