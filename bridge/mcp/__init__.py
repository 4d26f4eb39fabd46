"""The endpoint as tools of the Model Context Protocol, made from its API document."""
