"""Model classes: one for each object schema that a user asks for."""

from bridge.generator.models.model import Field, Model, Type
from bridge.generator.models.reading import Models, models_of

__all__ = ["Field", "Model", "Models", "Type", "models_of"]
