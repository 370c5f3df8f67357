"""Runs on many hosts: a supervisor on each starts its worker, and ends it if another host fails."""
