"""Where partitions are worked out: here, or wherever an executor takes them."""
