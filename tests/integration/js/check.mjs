// Drives the published ObjectStack client against a running REST gateway.
//
//   OQL_REST_URL=... OQL_ADMIN_TOKEN=... node check.mjs
//
// Needs the crm example. Prints one line per step and exits 1 at the first step that fails;
// what it creates it deletes.

import assert from 'node:assert/strict';
import { ObjectStackClient } from '@objectstack/client';

const { OQL_REST_URL: baseUrl, OQL_ADMIN_TOKEN: token } = process.env;
assert.ok(baseUrl && token, 'set OQL_REST_URL and OQL_ADMIN_TOKEN');

const client = new ObjectStackClient({ baseUrl, token });
const run = `js-${process.pid}-${Date.now()}`;
const named = (n) => `Client check ${run} ${n}`;

async function step(name, work) {
  await work();
  console.log(`ok ${name}`);
}

const failure = async (work) => {
  try {
    await work();
  } catch (error) {
    return error;
  }
  assert.fail('expected a failure');
};

let first;

await step('connect', async () => {
  const discovery = await client.connect();
  assert.equal(discovery.routes.data, '/api/v1/data');
});

await step('create', async () => {
  const created = await client.data.create('account', { name: named(1), employees: 5 });
  assert.equal(created.object, 'account');
  assert.equal(created.record.employees, 5);
  first = created.record;
});

await step('get', async () => {
  const got = await client.data.get('account', first.id);
  assert.deepEqual(got.record, first);
});

await step('query', async () => {
  const page = await client.data.query('account', {
    fields: ['id', 'name'],
    where: { name: { $contains: run } },
    orderBy: [{ field: 'name', order: 'asc' }],
    limit: 10,
  });
  assert.deepEqual(page.records, [{ id: first.id, name: first.name }]);
  assert.equal(page.total, 1);
});

await step('find', async () => {
  const page = await client.data.find('account', { where: { name: first.name }, limit: 5 });
  assert.equal(page.records.length, 1);
  assert.equal(page.records[0].id, first.id);
});

await step('update', async () => {
  const updated = await client.data.update('account', first.id, { employees: 6 });
  assert.equal(updated.record.employees, 6);
  assert.equal(updated.record.version, first.version + 1);
});

await step('update with the version of before is refused with what is now', async () => {
  const error = await failure(() =>
    client.data.update('account', first.id, { employees: 7 }, { ifMatch: String(first.version) }),
  );
  assert.equal(error.code, 'CONCURRENT_UPDATE');
  assert.equal(error.httpStatus ?? error.status, 409);
});

await step('update with the instant of before is refused, with that of now it is done', async () => {
  const error = await failure(() =>
    client.data.update('account', first.id, { employees: 7 }, { ifMatch: first.updated_at }),
  );
  assert.equal(error.code, 'CONCURRENT_UPDATE');
  const now = (await client.data.get('account', first.id)).record;
  const done = await client.data.update(
    'account', first.id, { employees: 8 }, { ifMatch: now.updated_at },
  );
  assert.equal(done.record.employees, 8);
});

await step('a record that breaks the rules is refused field by field', async () => {
  const error = await failure(() => client.data.create('account', { employees: 0 }));
  assert.equal(error.code, 'VALIDATION_FAILED');
});

const ids = [];

await step('createMany', async () => {
  const made = await client.data.createMany('account', [{ name: named(2) }, { name: named(3) }]);
  const records = made.records ?? made;
  assert.equal(records.length, 2);
  ids.push(...records.map((record) => record.id));
});

await step('updateMany', async () => {
  const done = await client.data.updateMany(
    'account', ids.map((id) => ({ id, data: { employees: 9 } })), { atomic: true },
  );
  assert.equal(done.succeeded, 2);
  assert.equal(done.failed, 0);
});

await step('batch reports every row and stops at the first failure', async () => {
  const done = await client.data.batch('account', {
    operation: 'update',
    records: [
      { id: ids[0], data: { employees: 10 } },
      { id: ids[1], data: { employees: 0 } },
      { id: first.id, data: { employees: 10 } },
    ],
    options: { atomic: false, returnRecords: true },
  });
  assert.deepEqual(done.results.map((row) => row.success), [true, false, false]);
  assert.equal(done.results[2].errors[0].code, 'NOT_ATTEMPTED');
});

await step('batchTransaction refers to earlier results', async () => {
  const done = await client.data.batchTransaction([
    { object: 'account', action: 'create', data: { name: named(4) } },
    { object: 'contact', action: 'create', data: { last_name: run, account: { $ref: 0 } } },
  ]);
  const [account, contact] = done.results;
  assert.equal(contact.account, account.id);
  await client.data.delete('contact', contact.id);
  ids.push(account.id);
});

await step('meta', async () => {
  assert.ok((await client.meta.getTypes()).types.includes('object'));
  const item = await client.meta.getItem('object', 'account');
  assert.equal((item.item ?? item).name, 'account');
});

await step('delete and deleteMany', async () => {
  assert.equal((await client.data.delete('account', first.id)).success, true);
  const done = await client.data.deleteMany('account', ids);
  assert.equal(done.succeeded, ids.length);
  const error = await failure(() => client.data.get('account', first.id));
  assert.equal(error.code, 'RECORD_NOT_FOUND');
});
