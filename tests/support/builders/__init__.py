"""Records, clusters and bytes that tests are made of."""
