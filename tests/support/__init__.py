"""What every kind of test shares: races, loops, models, hostile objects, leaks, histories, mutants."""
