"""The one task that owns the replica, and its queues."""
