"""Aloft inside LlamaIndex."""
