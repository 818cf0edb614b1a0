"""What a network is trained to give for a sample: its class, numbers, or which of several labels hold."""
CLASSES, NUMBERS, LABELS = "classes", "numbers", "labels"
KINDS = (CLASSES, NUMBERS, LABELS)
