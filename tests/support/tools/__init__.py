"""Coverage, mutation and other tools of the developer."""
