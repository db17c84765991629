"""The results database; never imports torch."""
