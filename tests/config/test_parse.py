"""Every mistake in a config becomes one sentence that names the flag; the rest is unchanged."""

import re
from typing import Any

import pytest

from cifar_jax.config import option_checks
from cifar_jax.config import parse as configs
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.config_files import ADV, SHIPPED, one_line, plain, with_value, without

# ml_collections loads config files by an old way of importlib.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
NAN, INFINITY = float('nan'), float('inf')

# Options outside of model, optimizer and schedule: what they must refuse, extremes to be taken.
WHOLE = (1.5, '1', None, True, NAN)
VALUES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
  'seed': ((-1, 2**64, *WHOLE), (0, 2**32 - 1)),
  'epochs': ((0, -3, 10**12, *WHOLE), (1, 10**6)),
  'max_steps': ((-1, *WHOLE), (0, 476)),
  'gradient_accumulation': ((0, -1, *WHOLE), (1, 4)),
  'batch_size': ((0, -32, 2**31, 2**63, *WHOLE), (1, 4096)),
  'parallel': (('', 'JIT', 'ddp', None, 1), ('jit', 'pmap')),
  'uneven_batch': (('', 'drop', None, 1), ('error', 'pad')),
  'batch_norm.ghost_rows': ((-1, *WHOLE), (0, 16)),
  'devices': ((-1, *WHOLE), (0, 8)),
  'steps_per_dispatch': ((-1, *WHOLE), (0, 1000)),
  'tags': (('word', (1,), None, ('a', None)), ((), ('a', 'b c'), ['a'])),
  'start_from': ((3, None, ('a',)), ('', 'runs/head')),
  'tensorboard': ((0, 1, 'False', None), (True, False)),
  'data.name': ((3, None, ('cifar10',)), ('cifar10', 'synthetic')),
  'data.dir': ((3, None, ('a',)), ('', '/somewhere')),
  'data.validation': ((0.1, 5000, None), ('test', '0.1', '5000')),
  'data.validation_from': (('first', '', None, 0), ('random', 'last')),
  'data.keep_duplicates_together': ((0, 1, 'True', None), (True, False)),
  'data.last_batch': (('pad', '', None, True), ('keep', 'drop')),
  'data.channels': ((2, -1, *WHOLE), (0, 1, 3)),
  'data.pad_to': ((-1, *WHOLE), (0, 32)),
  'data.placement': (('', 'disk', None, 1), ('device', 'host')),
  'data.normalize': (('zca_whitening', '', None, 1), ('given', 'channel', 'zca')),
  'data.zca_images': ((0, -1, *WHOLE), (1, 50000)),
  'data.zca_epsilon': ((0, -1e-6, NAN, INFINITY, '1', None), (1e-9, 1)),
  'data.mean': (
    (0.5, (), ('a',), (None,), (NAN,), (INFINITY,), (True,), None),
    ((0.5,), (0, 0.5, -1), [0.5]),
  ),
  'data.std': ((1.0, (), (0.0,), (-1.0,), ('a',), (NAN,), (1.0, 0.0), None), ((0.5,), (1, 2, 3))),
  'data.folder.image_size': (((150,), (0, 5), (5, 5.0), (1, 2, 3), 32, None), ((1, 1), [150, 99])),
  'data.folder.resize': (('fit', '', None, True), ('stretch', 'crop', 'pad')),
  'data.folder.interpolation': (('cubic', '', None, 2), ('nearest', 'bilinear', 'lanczos')),
  'data.folder.damaged': (('ignore', '', None, False), ('error', 'skip')),
  'data.folder.max_megapixels': ((0, -1.0, NAN, INFINITY, '64', None), (0.1, 200)),
  'data.folder.cache': ((0, 1, 'auto', None), (True, False)),
  'data.folder.workers': ((-1, 10**9, *WHOLE), (0, 8)),
  'augment.from_epoch': ((-1, *WHOLE), (0, 200)),
  'augment.flip': ((0, True, 'yes', '', None), ('none', 'random', 'alternating')),
  'augment.vertical_flip': ((0, 1, 'False', None), (True, False)),
  'augment.crop_border': (('black', '', None, 0), ('reflect', 'zero')),
  **{
    f'augment.{name}': ((-0.1, NAN, INFINITY, '1', None), (0, 0.2, 10.0))
    for name in ('rotation', 'height_shift', 'width_shift', 'shear')
  },
  'augment.zoom': ((-0.1, 1.0, 1, NAN, '0.2', None), (0, 0.2)),
  'augment.interpolation': (('cubic', '', None, 1), ('nearest', 'bilinear')),
  'augment.border': (('constant', '', None, 0), ('nearest', 'reflect', 'wrap', 'zero')),
  **{
    f'augment.{name}': ((-0.1, NAN, INFINITY, '1', None), (0, 0.4, 2))
    for name in ('brightness', 'contrast', 'saturation', 'mixup', 'cutmix')
  },
  'augment.hue': ((-0.1, 0.6, 1, NAN, '0.1', None), (0, 0.5)),
  'augment.policy': (('autoaugment', '', None, 2), ('none', 'randaugment', 'trivialaugment')),
  'augment.policy_operations': ((0, -1, 10**6, *WHOLE), (1, 5)),
  'augment.policy_magnitude': ((-1, 31, *WHOLE), (0, 30)),
  'augment.cutout': ((-1, *WHOLE), (0, 12)),
  'augment.erasing': ((-0.1, 1.1, NAN, '0.5', None), (0, 1, 0.25)),
  'whitening.layer': ((3, None), ('', 'whitening')),
  'whitening.images': ((0, -1, *WHOLE), (1, 5000)),
  'whitening.epsilon': ((0, 0.0, -1e-4, NAN, INFINITY, '1', None), (1e-9, 1)),
  'early_stopping.patience': ((-1, *WHOLE), (0, 10)),
  'early_stopping.min_delta': ((-0.1, NAN, INFINITY, '1', None), (0, 0.01)),
  'plateau.patience': ((-1, *WHOLE), (0, 10)),
  'plateau.factor': ((0, 1, 1.0, -0.5, NAN, '0.1', None), (0.1, 0.99)),
  'plateau.min_delta': ((-0.1, NAN, INFINITY, '1', None), (0, 0.01)),
  'plateau.cooldown': ((-1, *WHOLE), (0, 10)),
  'plateau.min_learning_rate': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-6)),
  **{
    f'{section}.monitor': (('loss', '', None, 1), ('val_loss', 'train_accuracy'))
    for section in ('early_stopping', 'plateau')
  },
  **{
    f'{section}.counting': (('keras3', '', None, 2), ('keras', 'keras2.0'))
    for section in ('early_stopping', 'plateau')
  },
  'evaluate.last_batch': (('pad', '', None, True), ('keep', 'drop')),
  'evaluate.tta': (('', 'mirror', None, 1), ('none', 'flip', 'flip_translate')),
  'evaluate.every_epochs': ((-1, *WHOLE), (0, 5)),
  'evaluate.pictures_every_epochs': ((-1, *WHOLE), (0, 5)),
  'evaluate.mistakes': ((-2, *WHOLE), (-1, 0, 20)),
  'augment.crop_padding': ((-1, *WHOLE), (0, 4)),
  'loss.label_smoothing': ((-0.1, 1.0, 1, NAN, INFINITY, '0.1', None), (0, 0.0, 0.999)),
  'loss.class_weights': (
    (1.0, (-1.0,), ('a',), (NAN,), (INFINITY, 1.0), (0, 0.0, 0), (True, 1), None),
    ((), (1, 2.5), [1.0], (0, 1)),
  ),
  'loss.l1': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-4)),
  'loss.l2': ((-0.1, NAN, INFINITY, '1', None), (0, 1e-4)),
  'checkpoint.every_epochs': ((-1, *WHOLE), (0, 5)),
  'checkpoint.every_steps': ((-1, *WHOLE), (0, 5)),
  'profile.steps': ((-1, *WHOLE), (0, 5)),
  'profile.after_steps': ((-1, *WHOLE), (0, 5)),
  'checkpoint.keep': ((0, -1, *WHOLE), (1, 100)),
  'checkpoint.best': (('test_accuracy', '', None, 1), ('val_accuracy', 'val_loss')),
}
# Sections that a name chooses: enough to see that validate() asks the right module.
CHOSEN: dict[str, Any] = {
  'optimizer.name': ('adan', r"--config\.optimizer\.name 'adan' is unknown; did you mean 'adam'\?"),
  'optimizer.learning_rate': (0.0, r'--config\.optimizer\.learning_rate must be a number above 0'),
  'optimizer.momentum': (
    0.9,
    r"'keras_adam' takes no --config\.optimizer\.momentum; it takes .*beta1",
  ),
  'schedule.name': (
    'cosin',
    r"--config\.schedule\.name 'cosin' is unknown; did you mean 'cosine'\?",
  ),
  'schedule.factor': (0.5, r"'constant' takes no --config\.schedule\.factor"),
  'average.name': ('emma', r"--config\.average\.name 'emma' is unknown; did you mean 'ema'\?"),
  'average.decay': (0.9, r"average 'none' takes no --config\.average\.decay"),
  'model.name': ('conv_nat', r"--config\.model\.name: no network is called 'conv_nat'.*'conv_net'"),
  'model.dtype': ('float16', r"--config\.model\.dtype: 'float16' .*'bfloat16'"),
  'model.widht': ((3,), r"--config\.model\.widht: .* did you mean 'widths'"),
}


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_config_is_valid_and_locked(path) -> None:
  config = configs.load(str(path))
  configs.validate(config)
  assert config.is_locked
  with pytest.raises(AttributeError):
    config.epoch = 3


def test_the_tables_here_cover_every_option() -> None:
  options = {key for key in plain(base.get_config()) if key.split('.')[0] not in configs._CHOSEN}
  assert set(VALUES) == options
  assert set(option_checks.CHECKS) == options


@pytest.mark.parametrize(
  ('key', 'value'), [(key, value) for key, (bad, _) in VALUES.items() for value in bad]
)
def test_impossible_value_names_the_flag(key, value) -> None:
  with pytest.raises(UserError, match=rf'^--config\.{re.escape(key)} must be ') as error:
    configs.validate(with_value(key, value))
  assert repr(configs._tuples(value)) in one_line(error)


@pytest.mark.parametrize(
  ('key', 'value'), [(key, value) for key, (_, good) in VALUES.items() for value in good]
)
def test_extreme_value_is_taken(key, value) -> None:
  configs.validate(with_value(key, value))


@pytest.mark.parametrize('key', sorted(VALUES))
def test_missing_option_is_named(key) -> None:
  with pytest.raises(UserError, match=rf'lacks {re.escape(key)}; .*configs/base\.py') as error:
    configs.validate(without(key))
  one_line(error)


@pytest.mark.parametrize(
  'section', ['data', 'augment', 'model', 'loss', 'optimizer', 'schedule', 'checkpoint']
)
def test_missing_section_is_named(section) -> None:
  with pytest.raises(UserError, match=section) as error:
    configs.validate(without(section))
  one_line(error)


@pytest.mark.parametrize('key', sorted(CHOSEN))
def test_mistake_in_a_chosen_section(key) -> None:
  value, message = CHOSEN[key]
  with pytest.raises(UserError, match=message) as error:
    configs.validate(with_value(key, value))
  one_line(error)


def test_schedule_that_does_not_fit_the_epochs_is_found_before_anything_starts() -> None:
  config = configs.load(
    ADV, ['--config.schedule.name=warmup_cosine', '--config.schedule.warmup_epochs=100']
  )
  with pytest.raises(
    UserError, match=r'--config\.schedule\.warmup_epochs is 100.*--config\.epochs'
  ):
    configs.validate(config)
