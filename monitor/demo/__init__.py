"""A shop in a box: customers, a teacher behind HTTP, a server of the champion student."""
