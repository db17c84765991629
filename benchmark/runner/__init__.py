"""From a grid to stored results: plan, cell, executor."""
