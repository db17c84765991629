"""Causal mediation of arithmetic on one model: every experiment of arXiv:2305.15054."""
