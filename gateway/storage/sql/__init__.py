"""One module per noun: how it is kept in SQLite and PostgreSQL, with the same statements on both."""
