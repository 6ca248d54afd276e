"""HTTP alone: requests in, responses out."""
