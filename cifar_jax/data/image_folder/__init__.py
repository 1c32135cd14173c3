"""Image files in folders, one folder per class: listed, decoded, kept decoded, looked over."""

from cifar_jax.data.image_folder.source import load

__all__ = ['load']
