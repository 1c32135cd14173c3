"""Layers of PyTorch for networks of this package, as text: nothing imports them.

`torch_module` copies the classes that a network needs into the file that it writes, so each needs
PyTorch alone. Attributes have the names of the layers in this package.
"""
