"""What goes out to a language model and how its reply is read: one pure pair a module."""
