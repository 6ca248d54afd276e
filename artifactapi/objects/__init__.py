"""Bytes under a key. No HTTP, no repos, no digests."""
