"""Toy transformers whose arithmetic circuit is known."""
