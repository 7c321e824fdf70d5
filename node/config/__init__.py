"""What an operator configures: options, key, name, addresses."""
