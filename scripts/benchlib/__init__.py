"""What scripts/bench is made of: the registries it starts and the client that loads them."""
