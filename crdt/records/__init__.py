"""Signed records, and proofs about them."""
