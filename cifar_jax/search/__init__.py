"""Studies: many trials of one space of configs, by Optuna.

What is tried comes from a `study.Proposer`; `worker.work` claims, trains and reports trials, and
`supervisor.supervise` starts the workers of one command and looks after them.
"""
