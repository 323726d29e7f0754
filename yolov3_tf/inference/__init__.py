"""A trained network as one call, and what it can be pointed at."""
