"""Reverse ETL into Salesforce: plan → push → outcome.

``spec`` says what is synced, ``values`` what a Salesforce field can hold, ``current`` what
Salesforce holds now, ``plan`` (pure) what would change, ``push`` sends it, ``outcome`` remembers
it in the warehouse, ``revert`` undoes it, ``check`` compares an org with what the syncs need,
``render`` shows it to people. ``sync`` puts them together; assets and the command line call that.
"""
