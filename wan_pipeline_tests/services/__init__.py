"""The real servers that tests talk to: S3 (moto, Ceph's RADOS Gateway), PostgreSQL. Each starts on free ports, in a folder
of its own below the temporary one, and is stopped by its own process id; each pytest worker has its own."""
