"""LM Studio's own REST interfaces, versions 0 and 1, for clients that were written for it."""
