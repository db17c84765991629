"""What the speed comparisons share: prompts, timing, and the same questions asked of other libraries."""
