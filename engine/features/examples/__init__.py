"""The texts in which features are on: their maximally activating examples, and how often."""
