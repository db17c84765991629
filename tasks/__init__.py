"""Built-in tasks and ground-truth models."""

if __name__ == "tasks":
    raise ImportError("import arithloc.tasks, not tasks: install the project with 'make setup' first")
