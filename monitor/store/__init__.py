"""The journal's SQL for this program, a file for each loop that writes and one for reading.

Every function takes an open transaction, so that what belongs together is written together:
the caller opens one transaction a turn.
"""
