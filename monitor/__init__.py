"""Program 1: reads production, notices change, tells people."""
