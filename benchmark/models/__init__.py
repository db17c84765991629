"""Loading subject models and describing their anatomy."""
