"""Lets a candidate into production step by step beside the champion, and takes it back when it is surely worse."""
