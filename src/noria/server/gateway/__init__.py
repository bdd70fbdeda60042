"""The gateway: answers predictions by the routes of the database, and takes feedback. It never runs users' code."""
