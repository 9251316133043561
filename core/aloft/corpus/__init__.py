"""Turns documents into passages."""
