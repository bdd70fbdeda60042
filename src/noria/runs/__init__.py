"""The engine: runs pipelines durably, tries again, reuses what is finished, and keeps what steps record."""
