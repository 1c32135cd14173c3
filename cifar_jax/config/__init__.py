"""The options of a run: what there is, reading, checking, storing and comparing them.

Others use this room as `from cifar_jax import config as configs`.
"""

from cifar_jax.config.checks import flatten, validate
from cifar_jax.config.defaults import get_config
from cifar_jax.config.files import call_get_config, find, import_file, name_of, split
from cifar_jax.config.migrations import FORMAT, RENAMED_RESULTS, current_results
from cifar_jax.config.options import NEUTRAL, OPTIONS
from cifar_jax.config.parse import check_file, load, override, parse_flags
from cifar_jax.config.source import assignments, to_source
from cifar_jax.config.stored import (
  CONFIG_NAME,
  check_same,
  of_json,
  read,
  save,
  to_json,
  validate_config_unchanged,
)

__all__ = [
  'CONFIG_NAME',
  'FORMAT',
  'NEUTRAL',
  'OPTIONS',
  'RENAMED_RESULTS',
  'assignments',
  'call_get_config',
  'check_file',
  'check_same',
  'current_results',
  'find',
  'flatten',
  'get_config',
  'import_file',
  'load',
  'name_of',
  'of_json',
  'override',
  'parse_flags',
  'read',
  'save',
  'split',
  'to_json',
  'to_source',
  'validate',
  'validate_config_unchanged',
]
