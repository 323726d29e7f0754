"""Published files by name: the transfer, the unpacking of archives, and what is published where."""
