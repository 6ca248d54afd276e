"""`python -m artifactapi.workers`: what the first process runs, and nobody else."""

from artifactapi.workers.worker import main

main()
