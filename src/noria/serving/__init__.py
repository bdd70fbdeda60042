"""Answers for live requests: endpoints, routes between versions, what a version is served as, predictions and feedback."""
