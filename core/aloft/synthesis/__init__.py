"""Turns passages into rated question-answer pairs."""
