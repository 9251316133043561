"""Questions that people asked: labelled ones, and logs."""
