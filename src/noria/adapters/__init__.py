"""The outside world behind ports: today the codecs that carry values as bytes."""
