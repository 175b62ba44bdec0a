"""The commands of `cloudedge`, one file for each family."""
