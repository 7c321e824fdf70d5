"""Second, naive implementations to compare with."""
