"""Transcripts that are played and compared."""
