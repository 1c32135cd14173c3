import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_jax.layers import activation_names
from cifar_jax.models.layer_specs import (
  ActivationSpec,
  BatchNormSpec,
  ConvSpec,
  DenseSpec,
  DropoutSpec,
  FlattenSpec,
  GlobalAveragePoolSpec,
  PoolSpec,
  format_spec,
  parse_spec,
)
from cifar_jax.utils.errors import UserError

activations = st.sampled_from(activation_names()) | st.sampled_from(
  ['leaky_relu(0.003)', 'elu(2)', 'celu(1e-3)']
)
sizes = st.integers(1, 99)
specs = st.one_of(
  st.builds(
    ConvSpec,
    kernel=st.tuples(sizes, sizes),
    padding=st.sampled_from(['same', 'valid']),
    width_factor=st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0]) | st.floats(1e-9, 1e9),
    stride=sizes,
    dilation=sizes,
    activation=st.none() | activations,
  ),
  st.builds(
    PoolSpec,
    kind=st.sampled_from(['max_pool', 'avg_pool']),
    window=sizes,
    stride=st.none() | sizes,
    padding=st.sampled_from(['same', 'valid']),
  ),
  st.builds(DenseSpec, units=st.integers(1, 10**6), activation=st.none() | activations),
  st.builds(DropoutSpec, rate=st.floats(0, 1, exclude_max=True, allow_subnormal=False)),
  st.builds(ActivationSpec, activation=activations),
  st.just(BatchNormSpec()),
  st.just(FlattenSpec()),
  st.just(GlobalAveragePoolSpec()),
)


@pytest.mark.parametrize(
  ('text', 'spec'),
  [
    ('conv3', ConvSpec((3, 3))),
    ('conv1', ConvSpec((1, 1))),
    ('conv5x3 valid', ConvSpec((5, 3), 'valid')),
    ('conv3 same x2', ConvSpec((3, 3), 'same', 2.0)),
    ('conv3 x0.5 linear', ConvSpec((3, 3), width_factor=0.5, activation='linear')),
    ('conv3 stride=2 dilation=3', ConvSpec((3, 3), stride=2, dilation=3)),
    ('conv3 leaky_relu(0.003)', ConvSpec((3, 3), activation='leaky_relu(0.003)')),
    ('max_pool', PoolSpec('max_pool')),
    ('avg_pool 3 stride=2 same', PoolSpec('avg_pool', 3, 2, 'same')),
    ('  dense   256 ', DenseSpec(256)),
    ('dense 128 sigmoid', DenseSpec(128, 'sigmoid')),
    ('dropout 0.25', DropoutSpec(0.25)),
    ('dropout .5', DropoutSpec(0.5)),
    ('batch_norm', BatchNormSpec()),
    ('flatten', FlattenSpec()),
    ('global_average_pool', GlobalAveragePoolSpec()),
    ('relu', ActivationSpec('relu')),
  ],
)
def test_words(text: str, spec: object):
  assert parse_spec(text) == spec


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('conf3', "did you mean 'conv3'"),
    ('maxpool', "did you mean 'max_pool'"),
    ('batchnorm', "did you mean 'batch_norm'"),
    ('flaten', "did you mean 'flatten'"),
    ('rellu', "did you mean 'relu'"),
    ('conv3 vaild', "did you mean 'valid'"),
    ('conv3 same valid', 'the padding is given twice'),
    ('conv3 relu tanh', 'the activation is given twice'),
    ('conv0', "'0' must be a whole number of 1 or more"),
    ('conv3 stride=0', 'must be a whole number of 1 or more'),
    ('conv3 x0', 'more than 0'),
    ('max_pool sme', "did you mean 'same'"),
    ('dense', 'say how many units'),
    ('dense many', 'whole number'),
    ('dense 10 sigmoind', "did you mean 'sigmoid'"),
    ('dense 10 relu relu', 'one activation'),
    ('dropout', 'which fraction'),
    ('dropout 1', 'less than 1'),
    ('dropout 25', 'less than 1'),
    ('dropout -0.1', '0 or more'),
    ('dropout nan', 'which fraction'),
    ('flatten 3', 'takes no options'),
    ('relu(3)', 'takes no number'),
    ('leaky_relu(x)', 'no activation'),
    ('', 'empty'),
    (3, 'no layer'),
  ],
)
def test_mistakes_are_named(text: object, message: str):
  with pytest.raises(UserError, match=re.escape(message)):
    parse_spec(text)


@given(specs)
def test_parse_undoes_format(spec):
  assert parse_spec(format_spec(spec)) == spec


fragments = st.sampled_from(
  ['conv3', 'conv', 'max_pool', 'dense', 'dropout', 'relu', 'leaky_relu(', 'x2', 'x', 'stride=']
  + ['dilation=2', 'same', '0.25', '1e999', '-1', '٣', '(', ' ', '\x00', '', 'flatten', '9' * 30]
)
garbage = st.one_of(
  st.text(),
  st.lists(fragments).map(' '.join),
  st.lists(fragments).map(''.join),
  st.none() | st.integers() | st.floats() | st.tuples(st.text()),
)


@given(garbage)
def test_garbage_is_a_user_error_or_a_word_that_round_trips(text):
  try:
    spec = parse_spec(text)
  except UserError:
    return
  assert parse_spec(format_spec(spec)) == spec
