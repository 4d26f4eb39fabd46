"""Debian's Squeak: its machine, its image, and what newer images bring along."""
