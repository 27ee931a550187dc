"""Where jobs run. `local`: measuring workers on this machine; `trainings`: several trials of a search at once."""
