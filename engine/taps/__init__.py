"""Taps: how a forward pass is seen, and changed, from inside."""
