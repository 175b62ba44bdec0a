"""The kinds of work, one a file, each with a function `work(job, asked, say)` that does what an order of that kind asks."""
