"""Clock, files, process and errors."""
