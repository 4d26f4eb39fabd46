"""A model spread over several processes, the ranks, which run the same program side by side."""
