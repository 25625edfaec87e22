"""Programs that time parts of this project, run as `python -m benchmarks.NAME`.

Programs that measure this project on the machine they run on belong here. The phase `benchmark`
(`deploy.benchmark`) times a user's model files. Nothing in the project imports this folder.
"""
