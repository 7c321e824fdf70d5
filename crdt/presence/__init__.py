"""Which nodes are alive."""
