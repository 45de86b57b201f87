"""What a version of a product is doing, and what it is told to do: KAI's words for it."""
