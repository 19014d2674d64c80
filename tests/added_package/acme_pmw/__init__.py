"""What Acme adds to pmw: the kind `warehouse`, the provider `parrot`, a tool."""
