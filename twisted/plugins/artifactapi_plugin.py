"""The `twistd artifactapi` plugin."""

from twisted.application.service import ServiceMaker

artifactapi = ServiceMaker(
    "artifactapi", "artifactapi.tap", "A container registry over Postgres and S3, or on one machine", "artifactapi"
)
