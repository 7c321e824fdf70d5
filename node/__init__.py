"""What touches the world: files, sockets, clocks, processes."""
