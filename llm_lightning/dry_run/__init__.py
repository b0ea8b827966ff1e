"""What a run would take: measure, plan, print."""
