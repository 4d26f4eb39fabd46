"""Jobs: the generation thread and the work that requests give it."""
