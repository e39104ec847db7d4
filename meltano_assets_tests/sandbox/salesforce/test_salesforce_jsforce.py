"""Other people's client of another language against the simulated Salesforce: jsforce, unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meltano_assets_tests.sandbox.other_environment import node_packages
from meltano_assets_tests.sandbox.salesforce.conftest import Api

pytestmark = pytest.mark.slow

_SCRIPT = r"""
const jsforce = require('jsforce');
const known = JSON.parse(process.argv[2]);
const poll = { pollInterval: 50, pollTimeout: 20000 };
const told = {};
async function refused(call) {
  try { await call(); } catch (error) { return error.errorCode; }
}
async function main() {
  const conn = new jsforce.Connection({ loginUrl: known.login_url, version: '59.0' });
  await conn.login(known.username, known.password + known.security_token);
  const renewed = new jsforce.Connection({
    instanceUrl: known.base_url, accessToken: 'expired', refreshToken: known.refresh_token,
    oauth2: { loginUrl: known.login_url, clientId: known.client_id, clientSecret: known.client_secret },
  });
  told.renewed = (await renewed.query('SELECT Id FROM Account LIMIT 1')).totalSize;
  told.username = (await conn.identity()).username;

  const accounts = conn.sobject('Account');
  const made = await accounts.create({ Name: 'made by jsforce', Meltano_Id__c: 'js' });
  await accounts.update({ Id: made.id, Industry: 'Media' });
  const [again, fresh] = await accounts.upsert(
    [{ Meltano_Id__c: 'js', Industry: 'Retail' }, { Meltano_Id__c: 'js2', Name: 'second' }],
    'Meltano_Id__c');
  told.upserted = [again.created, fresh.created];
  told.industry = (await accounts.retrieve(made.id)).Industry;
  const many = Array.from({ length: 250 }, (_, n) => ({ LastName: n % 50 ? `many${n}` : null }));
  const created = await conn.sobject('Contact').create(many, { allowRecursive: true });
  told.created = created.filter((result) => result.success).length;
  told.refusal = created[50].errors[0].statusCode;
  const found = await conn.sobject('Contact').find({ LastName: { $like: 'many%' } }, 'Id')
    .execute({ autoFetch: true, maxFetch: 1000 });
  told.changed = (await conn.sobject('Contact').find({ LastName: 'many1' })
    .update({ FirstName: 'U${Id}' })).length;
  const gone = await conn.sobject('Contact').destroy(found.map((r) => r.Id), { allowRecursive: true });
  told.gone = gone.filter((result) => result.success).length;
  await accounts.destroy(made.id);
  told.deleted = await refused(() => accounts.retrieve(made.id));
  told.unknown = await refused(() => conn.query('SELECT Nope FROM Account'));

  told.fields = (await accounts.describe()).fields.length;
  told.objects = (await conn.describeGlobal()).sobjects.length;
  told.layouts = (await accounts.layouts()).layouts.length;
  const views = (await accounts.listviews()).listviews;
  told.listed = (await accounts.listview(views[0].id).results()).size;
  told.plans = (await accounts.listview(views[0].id).explain()).plans.length;
  told.tabs = (await conn.tabs()).length;
  told.limit = (await conn.limits()).DailyApiRequests.Max;
  told.used = conn.limitInfo.apiUsage.used > 10;
  told.search = (await conn.search('FIND {second} RETURNING Account(Name)')).searchRecords.length;
  told.definitions = (await conn.tooling.query(
    "SELECT QualifiedApiName FROM EntityDefinition WHERE QualifiedApiName = 'Account'")).totalSize;
  const graph = await conn.requestPost('/composite/graph', { graphs: [{ graphId: 'one',
    compositeRequest: [{ method: 'POST', url: '/services/data/v59.0/sobjects/Account',
      referenceId: 'a', body: { Name: 'graph' } }] }] });
  told.graph = graph.graphs[0].isSuccessful;

  const first = await conn.bulk.load('Host__c', 'insert', [{ Name: 'b1' }, { Name: 'b2' }]);
  told.bulk = first.filter((result) => result.success).length;
  const second = await conn.bulk2.loadAndWaitForResults({ object: 'Host__c', operation: 'upsert',
    externalIdFieldName: 'Meltano_Id__c', ...poll,
    input: [{ Name: 'b3', Meltano_Id__c: 'b3' }, { Name: 'x'.repeat(100), Meltano_Id__c: 'b4' }] });
  told.bulk2 = [second.successfulResults.length, second.failedResults.length];
  const rows = await (await conn.bulk2.query('SELECT Id, Name FROM Host__c', poll)).toArray();
  told.rows = rows.map((row) => row.Name).sort();
  const lead = await conn.sobject('Lead').create({ LastName: 'Fry', Company: 'Fry' });
  const turned = await conn.soap.convertLead({ leadId: lead.id, convertedStatus: 'Converted' });
  told.converted = [turned.success, turned.opportunityId.slice(0, 3)];
  told.metadata = (await conn.metadata.list([{ type: 'CustomObject' }])).length;
  told.component = (await conn.metadata.read('CustomObject', ['Host__c']))[0].fullName;
  told.reports = await conn.analytics.reports();
  await conn.logout();
  console.log(JSON.stringify(told));
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


def test_jsforce(api: Api, tmp_path: Path) -> None:
    api.org.bulk_polls = 1
    folder = node_packages(tmp_path, "jsforce@3")
    (folder / "walk.js").write_text(_SCRIPT)
    done = subprocess.run(
        ["node", "walk.js", json.dumps(api.org.manifest(api.base))],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    account = api.org.schema.find("Account")
    assert told == {
        "renewed": 1,
        "username": api.org.credentials.username,
        "upserted": [False, True],
        "industry": "Retail",
        "created": 245,
        "refusal": "REQUIRED_FIELD_MISSING",
        "changed": 1,
        "gone": 245,
        "deleted": "ENTITY_IS_DELETED",
        "unknown": "INVALID_FIELD",
        "fields": len(account.fields) if account else 0,
        "objects": len(api.org.schema.objects),
        "layouts": 1,
        "listed": 20,
        "plans": 1,
        "tabs": 8,
        "limit": 100_000,
        "used": True,
        "search": 1,
        "definitions": 1,
        "graph": True,
        "bulk": 2,
        "bulk2": [1, 1],
        "rows": ["b1", "b2", "b3"],
        "converted": [True, "006"],
        "metadata": len(api.org.schema.objects),
        "component": "Host__c",
        "reports": [],
    }
