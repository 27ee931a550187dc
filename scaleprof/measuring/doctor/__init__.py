"""What disturbs measuring on this machine: facts, and one judgement a fact.

Each file has values that hold facts, a `read…` that takes them from the system, and pure functions from facts
to a `Finding`. Nothing here changes the machine, and nothing here guesses: what the system does not tell is
`unknown`, never `ok`.
"""
