"""Tests; they mirror symc/."""
