"""The tasks: a trigger's intake, a process in pods, and the half of it that waits in the triggerer."""
