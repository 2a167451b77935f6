"""Program 2: decides when the student learns again, teaches it, lets it through the gate."""
