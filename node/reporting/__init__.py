"""Rows and sentences for people, from a daemon or a store file."""
