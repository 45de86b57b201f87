"""Programs that measure something in a process of their own. What they found is JSON, their last line."""
