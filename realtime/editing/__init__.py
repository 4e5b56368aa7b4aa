"""Changes to notes that exist: denser, higher, brighter. Pure."""
