"""Comparative neuron analysis as a report (Yu and Ananiadou, arXiv:2409.14144)."""

from arithloc.methods.analyses.cna.analysis import CnaAnalysis

__all__ = ["CnaAnalysis"]
