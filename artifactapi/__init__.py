"""A container registry that several replicas serve together, over Postgres and S3."""

__version__ = "0.1.0"
