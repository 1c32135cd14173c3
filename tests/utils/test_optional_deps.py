"""The extras that messages tell users to install are those that the package has."""

import re
import tomllib

import pytest

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require
from tests.helpers import REPOSITORY

EXTRAS = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text('utf-8'))['project'][
  'optional-dependencies'
]


def test_a_missing_package_names_the_pip_command() -> None:
  with pytest.raises(UserError, match=r"pip install -e '\.\[report\]'"):
    require('report', 'a_package_that_nobody_has')


def test_every_extra_that_is_named_exists() -> None:
  named = set()
  for path in (REPOSITORY / 'cifar_jax').rglob('*.py'):
    text = path.read_text('utf-8')
    named |= set(re.findall(r"require\('(\w+)'", text) + re.findall(r'cifar_jax\[(\w+)\]', text))
  assert {'report', 'serve', 'folders', 'transfer'} <= named <= set(EXTRAS)


def test_the_name_of_earlier_versions_brings_the_same() -> None:
  assert EXTRAS['look'] == ['cifar_jax[report]']
