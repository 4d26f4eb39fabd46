"""Edges: what passes from one part of a model to another, and what of a behaviour it carries."""
