"""Attribution graphs: which features made which features, and which of them made the answer."""
