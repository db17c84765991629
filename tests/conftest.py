"""Environment of every test, set before anything is imported."""

import os

os.environ.setdefault(
    "ARITHLOC_PLUGINS", "arithloc"
)  # other people's plugins are loaded only where a test asks for them
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
