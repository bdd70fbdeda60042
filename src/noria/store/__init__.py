"""The metadata database with its migrations, work leases, and blobs by digest."""
