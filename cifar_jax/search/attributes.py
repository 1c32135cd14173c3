"""What a study keeps in Optuna's storage beside what Optuna does, by the names of the attributes.

A space may set attributes of its trials too: those from here have a word before them.
"""

_OURS = 'cifar_jax.'

# Of a study: what cannot change within it, and whether its grid is done.
PLAN = f'{_OURS}plan'
EXHAUSTED = f'{_OURS}exhausted'

# Of a trial: its config with the first seed, as JSON; seed -> what that run has found.
CONFIG = f'{_OURS}config'
RESULTS = f'{_OURS}results'
# The epochs of all its runs so far, and those that it is to make.
MADE_EPOCHS = f'{_OURS}made_epochs'
PLANNED_EPOCHS = f'{_OURS}planned_epochs'
# Why it was pruned or has failed.
REASON = f'{_OURS}reason'
# Whether it is what the study has to beat.
BASELINE = f'{_OURS}baseline'
# Who trains it, a count of that one's signs of life with the seconds of work so far, and the epoch
# after which its process was lost with how often in a row.
OWNER = f'{_OURS}owner'
PULSE = f'{_OURS}pulse'
KILLS = f'{_OURS}kills'
# Its individual in an evolution, and its stage: those of one stage alone are compared.
INDIVIDUAL = f'{_OURS}individual'
STAGE = f'{_OURS}stage'
# What stands in the table beside what was suggested, by name.
SHOWN = f'{_OURS}shown'
# Option -> value: what is other in its config where it is trained outside of the study.
IN_FULL = f'{_OURS}in_full'
