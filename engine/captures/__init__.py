"""Captures: from hook specifications to records in numpy."""
