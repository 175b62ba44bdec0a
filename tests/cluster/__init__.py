"""The cluster's real servers as plain processes, and tests against them."""
