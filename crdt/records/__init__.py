"""One signed record, and proofs about it."""
