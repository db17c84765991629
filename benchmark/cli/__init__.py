"""The `bench` command: one file per command."""
