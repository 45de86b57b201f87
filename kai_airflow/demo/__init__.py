"""The processes of the example products, and what they are expected to answer."""
