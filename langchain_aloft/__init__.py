"""Aloft inside LangChain."""
