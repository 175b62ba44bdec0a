"""The runner at an edge, and the site engineer's tools.

It sees a mounted directory (its inbox), URLs (in its orders) and its own disk, and nothing else: no Kubernetes, no MLflow,
no inbound port. What the idle runner loads (`edge.runner` and what it imports) loads neither torch nor numpy; work runs in
child processes that a fork server makes (`edge.workers`), so nothing that happens to the work happens to the runner.
"""
