"""The command line of `main.py`: flags, settings, run folders and the phases' glue.

Only here do flags exist: `flags` declares them, `settings` turns them into the settings of the
code below, and one module per group of phases calls that code. Nothing below imports `cli`.
"""
