"""The client of another registry: what a remote repo fetches from."""
