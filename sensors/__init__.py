"""Sensors and schedules: a pure decision, and ten lines around it."""
