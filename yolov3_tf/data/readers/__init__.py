"""From files to ``Dataset``: one module a dataset format, and ``specs``, the table of them."""
