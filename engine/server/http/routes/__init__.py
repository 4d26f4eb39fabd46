"""What each operation of the contract does, one module a subject."""
