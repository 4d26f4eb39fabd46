"""A model's weights by the field's names, found by what its code does with them."""
