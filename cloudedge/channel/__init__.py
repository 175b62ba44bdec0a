"""Nodes speak to nodes: gRPC with mutual TLS, by certificates that each made itself.

Each node's key is its own and never leaves it; its certificate is its own root, believed by those who were told of it and by
nobody else. Messages are documents as JSON, bounded in size; files go as streams of chunks. What is said is the business of
whoever uses the channel: nothing in here knows of lines, detectors or models.
"""
