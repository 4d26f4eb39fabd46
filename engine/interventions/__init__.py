"""Interventions: changes made while a model runs."""
