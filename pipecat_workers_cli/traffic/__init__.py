"""What was seen on the bus and in the calls."""
