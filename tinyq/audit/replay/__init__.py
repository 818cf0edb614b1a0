"""Repeat recorded steps on the real data and compare every digest."""
