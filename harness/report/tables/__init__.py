"""The tables of a report as files: CSV, Parquet, LaTeX, Markdown, model cards."""
