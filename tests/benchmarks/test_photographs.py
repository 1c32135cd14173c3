from benchmarks import photographs


def summary(seed: int, accuracy: float, *options: str, last_epoch: int = 5) -> dict:
  command = f'launch.py --config=configs/head.py --workdir=/x/run{seed} --config.seed={seed}'
  values = dict.fromkeys(photographs.COPIED, 1)
  changed = {'seed': seed, 'val_accuracy': accuracy, 'last_epoch': last_epoch}
  return {**values, **changed, 'command': ' '.join([command, *options])}


def test_a_line_names_the_config_and_no_folder() -> None:
  row = photographs.row_of(
    summary(2, 0.75, '--config.data.dir=/x/photos', '--config.epochs=9', '--config.start_from=/y')
  )
  assert (row['config'], row['options']) == ('head', '--config.epochs=9')
  assert row['val_accuracy'] == '0.75'
  assert not any('/x' in value or '/y' in value for value in row.values())


def test_seeds_are_one_system_and_options_make_another() -> None:
  rows = [
    photographs.row_of(run)
    for run in (
      summary(0, 0.97),
      summary(1, 0.99, last_epoch=8),
      summary(0, 0.5, '--config.epochs=9'),
    )
  ]
  lines = photographs.markdown(rows).splitlines()
  assert lines[2:] == [
    '| `head` | 2 | 98.00 ± 1.41 % | 5 to 8 |',  # 2 / sqrt(2), by hand
    '| `head` `--config.epochs=9` | 1 | 50.00 % | 5 |',
  ]
