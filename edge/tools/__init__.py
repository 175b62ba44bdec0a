"""What a site engineer has: what this edge does, has collected and has trained."""
