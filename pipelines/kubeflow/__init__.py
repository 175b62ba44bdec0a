"""Runs on Kubeflow."""
