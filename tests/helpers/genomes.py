"""Genomes for tests."""

from cifar_jax.search.genome import Block, Convolution, Dense, Genome, Rule

# configs/cnn_adv.py
ADV = Genome(
  blocks=tuple(
    Block(width, (Convolution(3), Convolution(1)), 'max_pool', 'block', 0.25)
    for width in (32, 64, 128)
  ),
  vectors='flatten',
  dense=(Dense(256, 0.5),),
  activation='relu',
  optimizer=Rule('keras_adam', 1e-3),
)
