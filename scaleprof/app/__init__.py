"""One file per verb; the only place where the layers' siblings meet.

Nothing is imported here: showing a run must not load torch. `scaleprof` itself names the public functions.
"""
