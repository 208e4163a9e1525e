"""Snowflake: a compiler for a custom accelerator, and the machine (Chang et al. 2017, arXiv 1708.00117)."""
