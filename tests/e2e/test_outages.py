"""What a call over a shared engine does when that fails, in processes of their own."""
