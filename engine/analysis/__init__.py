"""Analyses made of runs: gradients, circuits, the logit lens."""
