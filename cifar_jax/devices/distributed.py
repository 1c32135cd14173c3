"""Several processes, on one machine or many, as one program: how they start, agree and end.

Every process runs the same code on its own devices; what they compute together is compiled into
the steps. The first process alone writes and prints. When a process is lost the others cannot go
on: they end, with status `LOST` or by JAX's own hand (SIGABRT, after `HEARTBEAT_SECONDS`), and the
same command on all of them, or on more or fewer, resumes from the last checkpoint.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping

from cifar_jax.utils.errors import UserError

LOST = 75  # exit status where a peer was lost: EX_TEMPFAIL of <sysexits.h>, "try again"
HEARTBEAT_SECONDS = 30  # of silence after which a process counts as lost
_CONNECT_SECONDS = 120  # to wait for the others at the start
# Set by what starts several processes; JAX knows how to read the rest of each of them.
_COUNTS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE')
_LISTS = ('TPU_WORKER_HOSTNAMES', 'TPU_PROCESS_ADDRESSES')
# What collectives, the coordination service and barriers say when a process has gone.
_SIGNS_OF_LOSS = re.compile(
  'gloo|connection (reset|refused|closed)|socket closed|heartbeat|barrier|coordination|UNAVAILABLE'
  '|DEADLINE_EXCEEDED|ABORTED|task .* (died|failed)',
  re.IGNORECASE,
)


def is_multiprocess_launch(environment: Mapping[str, str] = os.environ) -> bool:
  """Whether a scheduler says that it started this process as one of several."""
  counts = [environment.get(name, '') for name in _COUNTS]
  lists = [environment.get(name, '') for name in _LISTS]
  return any(count.isdecimal() and int(count) > 1 for count in counts) or any(
    ',' in hosts for hosts in lists
  )


@contextlib.contextmanager
def initialize_distributed(
  coordinator: str = '', num_processes: int | None = None, process_id: int | None = None
) -> Iterator[None]:
  """Joins the other processes for as long as the context lasts; alone, it does nothing.

  Args:
    coordinator: HOST:PORT where process 0 listens; 'auto': what JAX finds out about the cluster
      (TPU pods, SLURM, GKE, Open MPI); '': the same if a scheduler's variables say that there are
      several, else this process is alone.
    num_processes: The number of processes, if the coordinator is given.
    process_id: The number of this process, counted from 0.

  Raises:
    UserError: the arguments contradict each other, or the others cannot be reached. Once joined,
      every error ends the process here and at once, since the usual way out waits for the others.
  """
  given = [coordinator not in ('', 'auto'), num_processes is not None, process_id is not None]
  if any(given) and not all(given):
    raise UserError(
      '--coordinator=HOST:PORT, --num_processes and --process_id go together; '
      'on a cluster that JAX knows leave all three out'
    )
  if not any(given) and coordinator != 'auto' and not is_multiprocess_launch():
    yield
    return
  _connect(coordinator, num_processes, process_id)
  import jax

  place = f'process {jax.process_index()} of {jax.process_count()}'
  try:
    yield
    jax.distributed.shutdown()
  except BaseException as error:
    # Something printed by C++ may have left the cursor in the middle of a line.
    status, text = _ending(error)
    print(f'\nerror: [{place}] {text}', file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)


def _connect(coordinator: str, num_processes: int | None, process_id: int | None) -> None:
  import jax

  jax.config.update('jax_enable_preemption_service', False)  # the loop has its own, see signals.py
  options: dict[str, object] = {
    'heartbeat_timeout_seconds': HEARTBEAT_SECONDS,
    'shutdown_timeout_seconds': HEARTBEAT_SECONDS,
    'initialization_timeout': _CONNECT_SECONDS,
  }
  if num_processes is not None and process_id is not None:
    if not re.fullmatch(r'.+:\d+', coordinator):
      raise UserError(f'--coordinator={coordinator} is not HOST:PORT, as 10.0.0.1:1234')
    if not 0 <= process_id < num_processes:
      raise UserError(
        f'--process_id={process_id} must be from 0 to {num_processes - 1}, since '
        f'--num_processes={num_processes}'
      )
    options |= {
      'coordinator_address': coordinator,
      'num_processes': num_processes,
      'process_id': process_id,
      'cluster_detection_method': 'deactivate',
    }
  try:
    jax.distributed.initialize(**options)  # type: ignore[arg-type]
  except ValueError as error:
    raise UserError(
      f'JAX cannot find out about the cluster ({error}); '
      'give --coordinator=HOST:PORT, --num_processes and --process_id'
    ) from None
  except RuntimeError as error:
    raise UserError(
      f'the other processes cannot be reached ({_first_line(error)}); start all of them within '
      f'{_CONNECT_SECONDS} s, with a --coordinator that every host can reach'
    ) from None
  _sum_over_all()


def _sum_over_all() -> None:
  """Computes something together while all processes are known to be at the same place.

  On CPU the first collective over a set of devices fails if a process is 30 s late, which it may be
  after compiling a large network; later ones wait.
  """
  import jax
  import jax.numpy as jnp
  from jax.experimental import multihost_utils
  from jax.sharding import NamedSharding, PartitionSpec

  multihost_utils.sync_global_devices('cifar_jax starts')  # over one device of each process
  mesh = jax.make_mesh((jax.device_count(),), ('all',), devices=jax.devices())
  own = jnp.ones(jax.local_device_count(), jnp.int32)
  ones = jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec('all')), own)
  jax.block_until_ready(jax.jit(jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))(ones))


def _ending(error: BaseException) -> tuple[int, str]:
  """Exit status and message for an error in one of several processes."""
  if isinstance(error, UserError):
    return 2, str(error)
  if isinstance(error, KeyboardInterrupt):
    return 130, 'interrupted'
  if isinstance(error, SystemExit):
    return error.code if isinstance(error.code, int) else 1, 'ended'
  if _SIGNS_OF_LOSS.search(f'{type(error).__name__}: {error}'):
    return LOST, (
      f'another process was lost ({_first_line(error)}); what was saved is complete: the same '
      'command on all processes, or on another number of them, resumes from the last checkpoint'
    )
  traceback.print_exception(error)
  return 1, _first_line(error)


def _first_line(error: BaseException) -> str:
  return str(error).strip().split('\n')[0][:200]
