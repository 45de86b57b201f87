"""The second example product: a forecast of each site's electric load, made every day from the day before."""
