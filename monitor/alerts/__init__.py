"""Telling people: what holds now, what of it is told, and through which channel it leaves.

`situation` is what the rules look at, `rules` say what holds, `stages` decide what is told and
why, `text` says it in words, `channels` send it, `retry` says when to try again.
"""
