"""Fuzz harnesses: plain functions of bytes, each with its invariant. `python -m fuzz.run NAME` drives one."""
