"""How libraries of PyTorch name the tensors of published families that are also ours."""
