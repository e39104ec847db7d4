"""meltano-assets: one asset graph from vendor APIs to PostgreSQL, dbt marts and Salesforce."""
