"""Where jobs run, in worker processes on this machine.

`local` measures, `arms` lets two revisions take turns, `trainings` runs a search's trials at once.
"""
