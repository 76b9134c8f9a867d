"""The operator's port. Today: health and metrics; the admin API and the console come here."""
