"""Where jobs run. `local`: worker processes on this machine."""
