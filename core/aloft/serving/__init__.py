"""The bundle that ships, and answers from it."""
