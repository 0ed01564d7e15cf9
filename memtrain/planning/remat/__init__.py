"""Computing again instead of keeping: policies, the stages that they plan for, and their schedules."""
