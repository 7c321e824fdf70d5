"""State folded from records: the board and the roster."""
