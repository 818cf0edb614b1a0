"""Find a network's weights in other programs' files, whatever they are called there."""
