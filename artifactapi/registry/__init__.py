"""The use cases, in the order things happen. No HTTP, no SQL."""
