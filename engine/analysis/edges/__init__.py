"""Edges: what passes from one part of a model to another, and how much of a behaviour it carries."""
