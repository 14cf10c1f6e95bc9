"""Offline side: the ASOF point-in-time SQL and the Feast offline-store plug-in built on it."""
