"""Chain of thought over ontologies as a report (Dutta et al., arXiv:2402.18312)."""

from arithloc.methods.analyses.cot.analysis import CotAnalysis

__all__ = ["CotAnalysis"]
