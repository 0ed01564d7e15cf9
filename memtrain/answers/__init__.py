"""What is concluded from cells: laws, what fits, ways to hold less, and comparison."""
