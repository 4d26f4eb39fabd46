"""Lenses that others trained: files that say how a layer's stream is read as the last one's."""
