"""Analyses of one model, and the folder of tables, pictures and pages that each of them writes."""
