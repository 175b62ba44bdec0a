"""What several pipeline steps need and the edge never sees: settings, the run's objects, inboxes, tracking, the log."""
