"""Rematerialisation: policies, the stages of a chain that they plan for, and the schedules that result."""
