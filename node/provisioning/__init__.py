"""How a node begins, is backed up and restored, and how a board moves."""
