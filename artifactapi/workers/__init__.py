"""One port served from several processes: the first one owns the port, and watches those that serve."""
