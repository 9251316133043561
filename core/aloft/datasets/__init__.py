"""Turns pairs and negatives into the rows of each part."""
