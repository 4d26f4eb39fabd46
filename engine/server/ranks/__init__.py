"""One server over several ranks: the first one serves HTTP, the others repeat what it does."""
