"""What music is made of: events, metre, notes, parts, cells, and figures of all of these. Pure."""
