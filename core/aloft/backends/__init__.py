"""Turns model names into models of this process that satisfy the Protocols (extra: train)."""
