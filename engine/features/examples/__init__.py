"""The texts that features are on in: their maximally activating examples, and how often they are."""
