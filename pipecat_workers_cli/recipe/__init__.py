"""A system of workers as data: read from TOML, checked, frozen."""
