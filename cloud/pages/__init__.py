"""What pages for people are made of: markup, marks, words."""
