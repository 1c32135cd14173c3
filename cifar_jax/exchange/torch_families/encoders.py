"""The names of networks on patches: the vision transformer and the MLP-Mixer."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from cifar_jax.exchange.torch_families.tables import Rename, Table, Tensors, by_table


def encoder(table: Callable[[int], Table], fused: str = '') -> Rename:
  """Of a transformer or a mixer; `table` gets its depth.

  Args:
    fused: A pattern of tensors that hold those of query, key and value, one after the other; its
      groups are the number of the block and 'weight' or 'bias'.
  """

  def rename(module: Any, tensors: Tensors) -> dict[str, np.ndarray]:
    apart = {}
    for name, array in tensors.items():
      match = re.fullmatch(fused, name) if fused else None
      if match and array.ndim and len(array) % 3 == 0:
        for part, piece in zip(('query', 'key', 'value'), np.split(array, 3), strict=True):
          apart[f'block{match[1]}_attention.{part}.{match[2]}'] = piece
      else:
        apart[name] = array
    return by_table(apart, table(module.depth))

  return rename


def _norm(offset: int) -> Callable[[str, str], str]:
  """Of the first (0) or second (1) LayerNorm of a block."""
  return lambda block, rest: f'LayerNorm_{2 * int(block) + offset}.{rest}'


def _attention(block: str, part: str, rest: str) -> str:
  return f'block{block}_attention.{part}.{rest}'


def _out(block: str, rest: str) -> str:
  return _attention(block, 'out', rest)


def _mlp(number: int, what: str = 'mlp') -> Callable[[str, str], str]:
  return lambda block, rest: f'block{block}_{what}.Dense_{number}.{rest}'


def _ends(
  patch: str, norm: str, head: str, depth: int, token: str = '', positions: str = ''
) -> list[tuple[str, Callable[..., str]]]:
  """Of what comes before the blocks, and after them."""
  return [
    (rf'{patch}\.(\w+)', lambda rest: f'patches.Conv_0.{rest}'),
    (rf'{norm}\.(\w+)', lambda rest: f'LayerNorm_{2 * depth}.{rest}'),
    (rf'{head}\.(\w+)', lambda rest: f'logits.{rest}'),
    (token, lambda: 'class_token'),
    (positions, lambda: 'positions'),
  ]


def vit_of_timm(depth: int) -> Table:
  """Of timm, whose query, key and value are one tensor."""
  block = r'blocks\.(\d+)\.'
  return [
    *_ends(r'patch_embed\.proj', 'norm', 'head', depth, 'cls_token', 'pos_embed'),
    (block + r'norm1\.(\w+)', _norm(0)),
    (block + r'norm2\.(\w+)', _norm(1)),
    (block + r'attn\.proj\.(\w+)', _out),
    (block + r'mlp\.fc1\.(\w+)', _mlp(0)),
    (block + r'mlp\.fc2\.(\w+)', _mlp(1)),
  ]


def vit_of_torchvision(depth: int) -> Table:
  """Of torchvision, whose query, key and value are one tensor."""
  block = r'encoder\.layers\.encoder_layer_(\d+)\.'
  places = 'class_token', r'encoder\.pos_embedding'
  return [
    *_ends('conv_proj', r'encoder\.ln', r'heads\.head', depth, *places),
    (block + r'ln_1\.(\w+)', _norm(0)),
    (block + r'ln_2\.(\w+)', _norm(1)),
    (block + r'self_attention\.out_proj\.(\w+)', _out),
    (block + r'mlp\.(?:0|linear_1)\.(\w+)', _mlp(0)),
    (block + r'mlp\.(?:3|linear_2)\.(\w+)', _mlp(1)),
  ]


def vit_of_hugging_face(depth: int) -> Table:
  """Of transformers: as they are saved, and as release 5 calls them in memory."""
  block, start = r'vit\.(?:encoder\.layer|layers)\.(\d+)\.', r'vit\.embeddings\.'
  places = start + 'cls_token', start + 'position_embeddings'
  patch = start + r'patch_embeddings\.projection'
  projections = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value'}
  return [
    *_ends(patch, r'vit\.layernorm', 'classifier', depth, *places),
    (block + r'layernorm_before\.(\w+)', _norm(0)),
    (block + r'layernorm_after\.(\w+)', _norm(1)),
    (block + r'attention\.attention\.(query|key|value)\.(\w+)', _attention),
    (
      block + r'attention\.([qkv]_proj)\.(\w+)',
      lambda number, part, rest: _attention(number, projections[part], rest),
    ),
    (block + r'attention\.(?:output\.dense|o_proj)\.(\w+)', _out),
    (block + r'(?:intermediate\.dense|mlp\.fc1)\.(\w+)', _mlp(0)),
    (block + r'(?:output\.dense|mlp\.fc2)\.(\w+)', _mlp(1)),
  ]


def mixer_of_timm(depth: int) -> Table:
  """Of timm."""
  block = r'blocks\.(\d+)\.'
  return [
    *_ends(r'stem\.proj', 'norm', 'head', depth),
    (block + r'norm1\.(\w+)', _norm(0)),
    (block + r'norm2\.(\w+)', _norm(1)),
    (block + r'mlp_tokens\.fc1\.(\w+)', _mlp(0, 'tokens')),
    (block + r'mlp_tokens\.fc2\.(\w+)', _mlp(1, 'tokens')),
    (block + r'mlp_channels\.fc1\.(\w+)', _mlp(0, 'channels')),
    (block + r'mlp_channels\.fc2\.(\w+)', _mlp(1, 'channels')),
  ]
