"""The command line of `main.py`: flags, settings, run folders and the functions that run a phase.

Flags exist only in this package: `flags` declares them, `settings` turns them into the settings of
the other packages, and one module per group of phases calls those packages. None of them imports
`cli`.
"""
