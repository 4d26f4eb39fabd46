"""A server that stands in for an API: it returns the examples of the API's document."""
