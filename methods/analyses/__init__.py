"""Analyses of the papers: what `bench analyze` runs. Each turns a model and its tasks into a report."""
