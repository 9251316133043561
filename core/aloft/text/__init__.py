"""Text as it is compared: normalised, cut to words, in a language."""
