"""The loops of the daemon: each has `once(now)`, which tests and replays call by themselves."""
