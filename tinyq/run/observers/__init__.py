"""Watch a run: record, show, save and stop it, while the loop only trains."""
