"""A server that stands in for an API: it answers with the examples of the API's document."""
