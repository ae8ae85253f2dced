"""The ledger against the providers' own books, line by line.

What belongs here: reading a provider's books and a person's invoices into lines, matching them with jobs, naming what
differs, and correcting what their evidence settles. What does not: reports, Dagster.
"""
