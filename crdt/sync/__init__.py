"""Synchronization with a peer."""
