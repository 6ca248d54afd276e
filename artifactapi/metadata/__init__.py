"""Rows. The only place with SQL; what a function takes and returns are values of `oci` and plain numbers."""
