"""A picture of one prompt's pass through a model, as one page that needs no network."""
