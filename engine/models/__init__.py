"""Models on this machine: fetched, converted, loaded, corrected."""
