"""No documents of a kind."""

WORK = RESULT = dict
