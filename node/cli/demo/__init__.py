"""The demo: three daemons on this machine and a dishonest one."""
