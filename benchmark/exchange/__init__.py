"""Component scores in the formats of others: MIB's circuit files and plain tables. Never imports torch."""
