"""The passes, one file each; pipeline.py is the table of contents."""
