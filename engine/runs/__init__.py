"""Runs: one loaded model, a forward pass, a generation."""
