"""Explain one weight at one step: its gradient as a sum of terms, and its update, recombined to the bit."""
