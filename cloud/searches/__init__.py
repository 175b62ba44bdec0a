"""Searches on devices that are over, and the meta models that learned from them, whatever becomes of the runs behind both."""
