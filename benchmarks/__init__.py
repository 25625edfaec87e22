"""Programs that time parts of this project, run as `python -m benchmarks.NAME`.

Here belongs what prints times of this machine. What times a user's model files is the phase
`benchmark` (`deploy.benchmark`), and nothing of the project imports this folder.
"""
