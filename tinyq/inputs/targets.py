"""Kinds of targets of a sample: its class, numbers, or which of several labels hold."""
CLASSES, NUMBERS, LABELS = "classes", "numbers", "labels"
KINDS = (CLASSES, NUMBERS, LABELS)
