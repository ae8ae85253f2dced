"""An empty ledger, on SQLite and on PostgreSQL, as the ledger's own tests have it."""

from wan_pipeline_tests.spend.conftest import (  # noqa: F401 - fixtures
    ledger_url,
    postgres_ledger,
    sqlite_template,
)
