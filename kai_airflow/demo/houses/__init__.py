"""A product that serves: what a house is worth, asked over HTTP."""
