"""What carries messages between workers; one bus a call."""
