"""The kinds of work, one a file, each with a function `work(job, asked, say)` that does what an order of that kind asks.

It writes the files that it makes, and last its manifest, as `edge.folders` has them; its points it only says, and the runner
keeps them.
"""
