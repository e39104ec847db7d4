"""Salesforce sync: what the marts decided, written back, planned first.

Writes only where the environment says so or where the Salesforce is the sandbox's; elsewhere the
assets plan and tell what they would have sent.
"""

