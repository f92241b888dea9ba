"""What `benchmarks.pages` measures, draws and writes, page by page."""
