"""What people see in a terminal or notebook: text that cannot act on it, and progress."""
