"""Genomes are configs of conv_net and back again."""

import dataclasses
import importlib
import json

import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import models
from cifar_jax.analysis import layer_table
from cifar_jax.config import flatten
from cifar_jax.search import genome as genomes
from cifar_jax.search.genome import Block, Convolution, Genome, Rule
from cifar_jax.search.size import size_of
from cifar_jax.utils.errors import UserError
from tests.helpers.genomes import ADV

CIFAR = (32, 32, 3)
# Parameters as the articles, their programs or the tables of them print them.
ARTICLES = {
  'lr': 30_730,
  'mlp': 411_146,
  'cnn_simple': 42_442,
  'cnn_adv': 642_986,
  'cnn_fchollet': 1_250_858,
  'cnn_pkaur': 1_172_410,
  'episode2': 257_978,
  'p5_dcnn': 236_266,
  'tutorial_4layer': 1_250_858,
}


def config_of(name: str) -> ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config()


def parameters_of(config: ConfigDict) -> int:
  module = models.create(config.model, 10)
  return layer_table.describe(module, CIFAR).parameters.total


@pytest.mark.parametrize('name', ARTICLES)
def test_the_articles_networks_are_genomes(name):
  config = config_of(name)
  genome = genomes.of_config(config)
  stored = genomes.of_json(json.loads(json.dumps(genomes.to_json(genome))))
  assert stored == genome
  again = genomes.to_config(config, stored)
  assert dict(flatten(again)) == dict(flatten(config))
  configs.validate(again.lock())


@pytest.mark.parametrize('name', ['cnn_simple', 'cnn_adv', 'cnn_pkaur'])
def test_they_have_the_articles_parameters_in_another_config(name):
  genome = genomes.of_config(config_of(name))
  assert parameters_of(genomes.to_config(config_of('resnet20'), genome)) == ARTICLES[name]


def test_sizes_by_hand():
  """30 * 30 * 32 * 27 + 13 * 13 * 64 * 288 + 2304 * 10 multiply-adds of cnn_simple."""
  simple = genomes.of_config(config_of('cnn_simple'))
  assert size_of(simple, CIFAR, 10) == (42_442, 3_915_648)
  # BatchNorm's running statistics count, as in the article.
  assert size_of(ADV, CIFAR, 10).parameters == 642_986


@pytest.mark.parametrize('name', ARTICLES)
def test_sizes_are_those_of_the_articles(name):
  genome = genomes.of_config(config_of(name))
  assert size_of(genome, CIFAR, 10).parameters == ARTICLES[name]


def test_a_genome_written_by_hand():
  assert genomes.of_config(config_of('cnn_adv')) == ADV
  config = genomes.to_config(config_of('base'), ADV)
  assert config.model.widths == (32, 64, 128)
  assert config.model.block == ('conv3', 'conv1', 'max_pool', 'batch_norm', 'dropout 0.25')
  assert config.model.head == ('flatten', 'dense 256', 'dropout 0.5')


def test_every_word_of_a_block_is_read_again():
  blocks = (
    Block(24, (Convolution(5, 'valid', 2.0), Convolution(3)), 'avg_pool', 'convolution', 0.1),
    Block(64, (Convolution(1, 'same', 0.5),), 'none', 'none', 0.0),
  )
  rule = Rule('sgd', 0.05, 5e-4, 0.9)
  genome = Genome(blocks, 'global_average_pool', (), 'leaky_relu(0.1)', rule)
  config = genomes.to_config(config_of('cnn_simple'), genome)
  assert config.model.block == (
    (
      *('conv5 valid x2 linear', 'batch_norm', 'leaky_relu(0.1)'),
      *('conv3 linear', 'batch_norm', 'leaky_relu(0.1)', 'avg_pool', 'dropout 0.1'),
    ),
    ('conv1 x0.5',),
  )
  configs.validate(config.lock())
  assert genomes.of_config(config) == genome


def test_options_of_another_optimizer_are_unset_and_its_own_stay():
  config = config_of('base')
  config.optimizer.update({'name': 'adam', 'beta1': 0.8, 'gradient_clip_norm': 1.0})
  same = genomes.to_config(config, adv_with('adam')).optimizer
  assert (same.beta1, same.gradient_clip_norm) == (0.8, 1.0)
  other = genomes.to_config(config, adv_with('sgd')).optimizer
  assert (other.beta1, other.gradient_clip_norm, other.momentum) == (None, 1.0, 0.0)


def adv_with(name: str) -> Genome:
  return dataclasses.replace(ADV, optimizer=Rule(name, 0.01))


@pytest.mark.parametrize(
  ('name', 'reason'),
  [
    ('resnet20', "a network of the kind 'resnet' is no conv_net"),
    ('alexnet', 'conv11 stride=4'),
    ('tutorial_6layer', 'dropout 0.2'),
    ('catsdogs_scratch', "the head begins with 'dropout 0.25'"),
    ('p5_8140', 'dense 256 relu'),
  ],
)
def test_what_no_genome_can_say(name, reason):
  with pytest.raises(UserError, match=reason):
    genomes.of_config(config_of(name))


def test_groups_and_rare_optimizers_are_refused():
  config = config_of('cnn_simple')
  config.optimizer.groups = ConfigDict({'biases': {'pattern': '.*bias'}})
  with pytest.raises(UserError, match=r'optimizer\.groups name parameters of one network'):
    genomes.of_config(config)
  config = config_of('cnn_simple')
  config.optimizer.name = 'muon'
  with pytest.raises(UserError, match="the optimizer 'muon' is none of adam, adamw"):
    genomes.of_config(config)


def test_what_is_no_genome_is_said():
  with pytest.raises(UserError, match='this is no genome'):
    genomes.of_json({'blocks': [{'width': 3}]})


def test_maps_never_have_less_than_a_pixel():
  # 8 -valid3-> 6 -pool-> 3 -valid3-> 1 -pool, valid3: no room.
  block = Block(8, (Convolution(3, 'valid'),), 'max_pool')
  deep = dataclasses.replace(ADV, blocks=(block,) * 3)
  first, second, third = genomes.fitted(deep, (8, 8, 3)).blocks
  assert first == block
  assert (second.convolutions[0].padding, second.pool) == ('valid', 'none')
  assert (third.convolutions[0].padding, third.pool) == ('same', 'none')
  assert genomes.fitted(deep, (64, 64, 3)) == deep


def test_filters_are_whole():
  half = Block(25, (Convolution(3, 'same', 0.5),))
  (block,) = genomes.fitted(dataclasses.replace(ADV, blocks=(half,)), CIFAR).blocks
  assert block.convolutions == (Convolution(3),)
