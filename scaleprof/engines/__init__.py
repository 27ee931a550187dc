"""Where jobs run: `local` measures in workers on this machine, `trainings` runs a search's trials at once."""
