"""What this node itself writes."""
