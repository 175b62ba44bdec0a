"""The kinds of work, one a file, each with a function `work` that does an order of that kind."""
