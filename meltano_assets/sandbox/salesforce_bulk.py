"""Bulk API 2.0 jobs."""

from __future__ import annotations

from meltano_assets.sandbox.salesforce_http import not_found


class BulkJobs:
    def __init__(self, org):
        self.org = org

    def start(self):
        pass

    def stop(self):
        pass

    def handle(self, call, rest):
        raise not_found()
