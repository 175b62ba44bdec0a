"""The demo of inspection: a new brand on a production line, from the first taught parts to a rollback."""
