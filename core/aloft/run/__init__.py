"""Runs the stages: graph, runner, store, plan and executors."""
