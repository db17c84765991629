"""Tasks for other programs: pairs as `datasets` tables and Parquet files, private draws, and accuracy through lm-eval."""
