"""Pictures of features: how they were trained, and the texts that they are on in."""
