"""Whom the scripts here log in as: REGISTRY_LOGIN=USER:PASSWORD in the environment; nobody, without it."""

import base64
import os

login = os.environ.get("REGISTRY_LOGIN")
headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
