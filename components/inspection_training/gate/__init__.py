"""Judge the file that will be deployed on images that the line never saw."""
