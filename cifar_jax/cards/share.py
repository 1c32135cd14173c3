"""What is uploaded of a run: a model folder with a card, made for it where the run is none."""

import pathlib
import shutil

from cifar_jax.cards import card, facts, pack
from cifar_jax.run_dir import hub, model_folder, run_files
from cifar_jax.run_dir.hub import Address
from cifar_jax.run_dir.run_files import shown_rows
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors


def prepare(
  run: pathlib.Path,
  folder: pathlib.Path,
  address: Address,
  checkpoint: str = 'latest',
  dtype: str = 'float32',
  license_id: str | None = None,
) -> None:
  """Writes into a folder what is uploaded of a run.

  A model folder goes as it is, with a card where it has none; of a run one is written, with no path
  of this machine in it.

  Args:
    run: The folder of a finished run, or a model folder.
    folder: Where to; nothing is there.
    address: Where it will be, which the card says.
    checkpoint: 'latest', 'best' or a step number, of a run.
    dtype: 'float16' or 'float32', of the parameters of a run.
    license_id: What the hub calls the license of the weights; None: what a card.json says.

  Raises:
    UserError: the run has not finished, or cannot be read; the model folder is damaged.
  """
  reference = f'{hub.PREFIX}{address.repository}'
  # Of a model folder too, whose readers would meet what is damaged.
  config, about, variables, normalization = pack.parts_of(run, checkpoint)
  known = facts.facts_of(run)
  if model_folder.is_model_folder(run):
    with disk_errors(folder):
      folder.mkdir()
      for name in hub.files_of(run):
        shutil.copyfile(run / name, folder / name)
    if not (folder / model_folder.README).exists() or license_id:
      card.write(run, folder, license_id, reference)
    return
  if not run_files.read_summary(run):
    raise UserError(f'{run} has not finished; what is shared is a finished run')
  model_folder.write(
    folder,
    config=config,
    about=about,
    variables=variables,
    normalization=normalization,
    rows=shown_rows(run),
    card={**known, 'license': license_id} if license_id else known,
    dtype=dtype,
  )
  card.write(run, folder, license_id, reference)
