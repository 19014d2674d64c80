"""What the code worker knows: the fence around a folder, and two engines that answer about it."""
