"""Operations on a subject model's internals: the only place with hooks."""
