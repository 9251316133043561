"""Turns models and held-out questions into figures before and after, and a verdict on each part."""
