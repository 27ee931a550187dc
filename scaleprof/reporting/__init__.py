"""Runs to views (plain data), and views to HTML, terminal tables, CSV, Markdown and JSON.

Needs no torch: a run made elsewhere is shown on any laptop.
"""
