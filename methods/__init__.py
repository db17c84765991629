"""Built-in localization methods."""

if __name__ == "methods":
    raise ImportError("import arithloc.methods, not methods: install the project with 'make setup' first")
