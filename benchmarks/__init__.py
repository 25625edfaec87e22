"""Scripts that measure this project on your machine, run as `python -m benchmarks.NAME`.

The phase `benchmark` (`deploy.benchmark`), in contrast, times a user's model files. Nothing else in
the project imports this package.
"""
