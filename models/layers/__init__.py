"""Layers, each a plain PyTorch module and, where it has state, a pure step."""
