"""Several devices and hosts used as one: meshes, arrays split over them, and agreement of hosts."""
