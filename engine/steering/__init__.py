"""Steering: directions of the residual stream that are added to it, or taken out of it."""
