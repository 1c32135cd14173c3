"""Image files, in a folder a class or named by a table: listed, decoded, kept decoded, looked
over.
"""

from cifar_jax.data.image_folder.source import load

__all__ = ['load']
