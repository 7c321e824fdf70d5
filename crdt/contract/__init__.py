"""What crosses between the core and the shell."""
