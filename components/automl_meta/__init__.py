"""The meta model of AutoML at the edge, trained anew: from which searches, whether it may lead, and the report."""
