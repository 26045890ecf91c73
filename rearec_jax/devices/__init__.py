"""Several devices and hosts as one: the mesh, what lies where, and what the hosts agree on."""
