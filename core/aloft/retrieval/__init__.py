"""Ranks passages: BM25, vectors, their fusion, and hard negatives."""
