"""What several steps of the pipelines need and an edge must never see."""
