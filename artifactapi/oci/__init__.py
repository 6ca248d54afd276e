"""Pure values and rules of the OCI specifications. No I/O, no Twisted; whatever is refused raises an OciError."""
