"""RPR, random partition relaxation (Cavigelli and Benini, 2020)."""
