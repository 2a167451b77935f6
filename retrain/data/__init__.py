"""What a student learns from, and what it is judged on: selected, split without leaks, hashed."""
