"""The service of a production line: models out to its detectors, what they recorded in, and how all of it stands.

It is a process of its own beside the runner, there only where a line is. It says what it wants of each detector, all of it each
time, and hears how each stands; so either side may be killed at any moment, and the network too, and nothing is done twice or
forgotten. Raw images never leave this machine.
"""
