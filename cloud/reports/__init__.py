"""What a person reads of a run in the end: what all systems' pages have in common, and the page of one that draws none."""
