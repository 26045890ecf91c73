"""Set-up, update, loop, and where a run goes on."""
