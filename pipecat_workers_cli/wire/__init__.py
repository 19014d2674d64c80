"""What a message of a call looks like between two processes."""
