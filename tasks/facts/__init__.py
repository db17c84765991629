"""Facts of the recall task: the shipped collection, the form of such a file, and the script that builds it."""
