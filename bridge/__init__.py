"""The bridge: everything that knows NeuroScope or Smalltalk."""

__version__ = "0.1.0"
