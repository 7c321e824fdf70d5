"""The records that this node writes."""
