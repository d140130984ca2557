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

await step('filters as tuples and as objects, sorted and paged', async () => {
  const where = ['and', ['name', 'contains', run], ['employees', '>', 5]];
  const query = { where, fields: ['id', 'name'], orderBy: [{ field: 'name', order: 'desc' }] };
  const whole = await client.data.query('account', query);
  assert.equal(whole.total, whole.records.length);
  assert.ok(whole.records.length > 1);
  assert.equal(whole.hasMore, false);
  assert.deepEqual(whole.records, whole.records.toSorted((a, b) => (a.name < b.name ? 1 : -1)));
  const seen = [];
  for (let offset = 0; ; offset += 1) {
    const page = await client.data.query('account', { ...query, limit: 1, offset });
    assert.equal(page.total, whole.total);
    seen.push(...page.records);
    if (!page.hasMore) break;
  }
  assert.deepEqual(seen, whole.records);
  const either = await client.data.query('account', {
    where: { $or: [{ id: first.id }, { name: { $startsWith: named(2) } }] },
  });
  assert.equal(either.total, 2);
  const tuples = [['name', 'contains', run], ['employees', '>', 5]];
  for (const options of [
    { where, orderBy: [{ field: 'name', order: 'desc' }], fields: ['id', 'name'], limit: 1 },
    { filters: tuples, sort: '-name', select: ['id', 'name'], top: 1 },
  ]) {
    const found = await client.data.find('account', options);
    assert.deepEqual(found.records, whole.records.slice(0, 1));
  }
  const lost = await failure(() => client.data.find('account', { where: { employees: { $gt: 5 } } }));
  assert.match(lost.message, /query/); // the client sent "[object Object]"
});

await step('expand puts the related record in the place of its id', async () => {
  const contact = await client.data.create('contact', { last_name: run, account: first.id });
  const query = { where: { last_name: run }, expand: { account: { fields: ['name'] } } };
  const page = await client.data.query('contact', query);
  assert.deepEqual(page.records[0].account, { id: first.id, name: first.name });
  const found = await client.data.find('contact', { where: { last_name: run }, expand: ['account'] });
  assert.equal(found.records[0].account.name, first.name);
  assert.equal((await client.data.delete('contact', contact.id)).success, true);
});

await step('upsert by id, clone, search', async () => {
  const upserted = await client.data.batch('account', {
    operation: 'upsert',
    records: [{ id: first.id, data: { rating: 3 } }, { id: `${run}-new`, data: { name: named(5) } }],
    options: { atomic: true, returnRecords: true },
  });
  assert.equal(upserted.failed, 0);
  assert.equal(upserted.results[0].data.rating, 3);
  assert.equal((await client.data.get('account', first.id)).record.name, first.name);
  ids.push(upserted.results[1].id);
  const copy = await client.data.clone('account', first.id, { name: named('clone') });
  assert.equal(copy.record.rating, 3);
  assert.notEqual(copy.id, first.id);
  ids.push(copy.id);
  const found = await client.search(`${run} CLONE`, { objects: ['account'], limit: 5 });
  assert.deepEqual(found.hits.map((hit) => [hit.object, hit.id]), [['account', copy.id]]);
});

await step('delete with the version of before is refused', async () => {
  const error = await failure(() => client.data.delete('account', first.id, { ifMatch: '1' }));
  assert.equal(error.code, 'CONCURRENT_UPDATE');
});

await step('groups and aggregates', async () => {
  const wanted = {
    where: { name: { $contains: run } },
    groupBy: ['industry'],
    aggregations: [
      { function: 'count', alias: 'n' }, { function: 'max', field: 'employees', alias: 'most' },
    ],
  };
  const all = await client.data.query('account', { where: wanted.where, fields: ['employees'] });
  const most = Math.max(...all.records.map((record) => record.employees ?? 0));
  const { records } = await client.data.query('account', wanted);
  assert.deepEqual(records, [{ industry: 'other', n: all.total, most }]);
});

await step('a query that means nothing is refused with what was meant', async () => {
  const error = await failure(() => client.data.query('account', { where: { nmae: 'x' } }));
  assert.equal(error.code, 'INVALID_FIELD');
  assert.match(error.message, /name/);
  const missing = await failure(() => client.data.query('acount', {}));
  assert.equal(missing.code, 'OBJECT_NOT_FOUND');
});

await step('actions answer, or say why they refuse', async () => {
  const made = await client.data.create('opportunity', {
    name: named('deal'), account: first.id, close_date: '2030-01-31',
  });
  const early = await client.actions.invoke('opportunity', 'close_won', { recordId: made.id });
  assert.equal(early.success, false);
  assert.match(early.error, /cannot be won yet/);
  for (const stage of ['qualification', 'proposal']) {
    await client.data.update('opportunity', made.id, { stage });
  }
  const won = await client.actions.invoke('opportunity', 'close_won', {
    recordId: made.id, params: { amount: 12.5 },
  });
  assert.deepEqual(won, {
    success: true, data: { id: made.id, stage: 'closed_won', amount: 12.5 },
  });
  const unknown = await client.actions.invoke('opportunity', 'close_wno', { recordId: made.id });
  assert.equal(unknown.success, false);
  assert.match(unknown.error, /close_won/);
  assert.equal((await client.data.delete('opportunity', made.id)).success, true);
});

await step('meta: types, items, item, view, next states', async () => {
  assert.ok((await client.meta.getTypes()).types.includes('object'));
  const { items } = await client.meta.getItems('object');
  assert.ok(items.some((item) => item.name === 'account'));
  const item = await client.meta.getItem('object', 'account');
  assert.equal(item.item.name, 'account');
  assert.equal(item.item.fields.employees.type, 'number');
  const cached = await client.meta.getCached('account');
  assert.equal(cached.notModified, false);
  const again = await failure(
    () => client.meta.getCached('account', { ifNoneMatch: `"${cached.etag.value}"` }),
  );
  assert.equal(again.httpStatus, 304); // the client throws before it looks at it
  for (const type of ['list', 'form']) {
    const view = await client.meta.getView('account', type);
    assert.equal(view.object ?? view.view?.object ?? 'account', 'account');
    assert.ok(JSON.stringify(view).includes('industry'), type);
  }
});

await step('meta: save, save with the version of before, delete', async () => {
  const name = `gadget_${process.pid}`;
  const fields = { name: { type: 'text', required: true } };
  const saved = await client.meta.saveItem('object', name, { label: 'Gadget', fields });
  assert.equal(saved.success, true);
  assert.equal(typeof saved.version, 'string');
  const record = await client.data.create(name, { name: run });
  assert.equal((await client.data.get(name, record.id)).record.name, run);
  fields.size = { type: 'number' };
  const grown = await client.meta.saveItem(
    'object', name, { label: 'Gadget', fields }, { ifMatch: saved.version },
  );
  assert.ok(Number(grown.version) > Number(saved.version));
  const late = await failure(() => client.meta.saveItem(
    'object', name, { label: 'Late', fields }, { ifMatch: saved.version },
  ));
  assert.equal(late.httpStatus ?? late.status, 409);
  const wrong = await failure(() => client.meta.saveItem(
    'object', name, { fields: { a: { type: 'txet' }, b: { type: 'lookup' } } },
  ));
  assert.equal(wrong.code, 'INVALID_METADATA');
  const draft = await failure(
    () => client.meta.saveItem('object', name, { fields }, { mode: 'draft' }),
  );
  assert.equal(draft.httpStatus ?? draft.status, 501);
  const stale = await failure(
    () => client.meta.deleteItem('object', name, { ifMatch: saved.version }),
  );
  assert.equal(stale.httpStatus ?? stale.status, 409);
  assert.equal((await client.meta.deleteItem('object', name)).reset, true);
  const gone = await failure(() => client.meta.getItem('object', name));
  assert.equal(gone.httpStatus ?? gone.status, 404);
  assert.equal((await client.meta.deleteItem('object', 'account')).reset, false);
});

await step('a service that is not here says so', async () => {
  const error = await failure(() => client.analytics.query({ cube: 'sales' }));
  assert.equal(error.httpStatus ?? error.status, 501);
});

await step('delete and deleteMany', async () => {
  assert.equal((await client.data.delete('account', first.id)).success, true);
  const done = await client.data.deleteMany('account', ids);
  assert.equal(done.succeeded, ids.length);
  const error = await failure(() => client.data.get('account', first.id));
  assert.equal(error.code, 'RECORD_NOT_FOUND');
});
