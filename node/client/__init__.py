"""Clients of the local API."""
