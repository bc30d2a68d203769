// What Node programs do through npm pg. Prints "ok NAME" or "FAIL NAME: why" per check; exit code 1 when any failed.
'use strict';

const assert = require('node:assert');
const { pipeline } = require('node:stream/promises');
const { Readable, Writable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');

const checks = [];
const check = (name, body, options) => checks.push({ name, body, options });

check('tables', async (c) => {
  await c.query('DROP TABLE IF EXISTS n_rows, n_types CASCADE');
  await c.query('CREATE TABLE n_rows (k int PRIMARY KEY, v text)');
  await c.query('CREATE TABLE n_types (k bigint PRIMARY KEY, b bool, n numeric, t text, y bytea, ts timestamptz, j jsonb, a int[])');
  await c.query("SELECT create_distributed_table('n_rows', 'k')");
  await c.query("SELECT create_distributed_table('n_types', 'k')");
  for (let k = 1; k <= 50; k++) await c.query('INSERT INTO n_rows VALUES ($1, $2)', [k, `row ${k}`]);
  const all = await c.query('SELECT count(*) FROM n_rows');
  assert.strictEqual(all.rows[0].count, '50');
});

check('parameters and named statements', async (c) => {
  for (let k = 1; k <= 50; k++) {
    const named = await c.query({ name: 'by key', text: 'SELECT v FROM n_rows WHERE k = $1', values: [k] });
    assert.deepStrictEqual(named.rows, [{ v: `row ${k}` }]);
  }
  const some = await c.query('SELECT k FROM n_rows WHERE k = ANY($1) ORDER BY k', [[3, 1, 2]]);
  assert.deepStrictEqual(some.rows.map((r) => r.k), [1, 2, 3]);
});

check('types', async (c) => {
  const row = { k: '9007199254740993', b: false, n: '1.50', t: 'ünï 数据', y: Buffer.from([0, 255]),
    ts: new Date('2026-11-20T01:02:03.004Z'), j: { a: [1, null] }, a: [1, 2, null] };
  await c.query('INSERT INTO n_types VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
    [row.k, row.b, row.n, row.t, row.y, row.ts, JSON.stringify(row.j), row.a]);
  await c.query('INSERT INTO n_types (k) VALUES ($1)', [2]);
  assert.deepStrictEqual((await c.query('SELECT * FROM n_types WHERE k = $1', [row.k])).rows, [row]);
  const empty = (await c.query('SELECT * FROM n_types WHERE k = 2')).rows[0];
  assert.ok(Object.entries(empty).every(([name, value]) => name === 'k' || value === null));
  const fields = (await c.query('SELECT * FROM n_types ORDER BY k')).fields;
  assert.deepStrictEqual(fields.map((f) => f.dataTypeID), [20, 16, 1700, 25, 17, 1184, 3802, 1007]);
});

check('queued queries keep their order', async (c) => {
  const results = await Promise.all(Array.from({ length: 200 }, (_, n) =>
    c.query('SELECT k, $2::int AS n FROM n_rows WHERE k = $1', [n % 50 + 1, n])));
  results.forEach((r, n) => assert.deepStrictEqual(r.rows, [{ k: n % 50 + 1, n }]));
});

check('transactions', async (c) => {
  await c.query('BEGIN');
  const changed = await c.query("UPDATE n_rows SET v = 'changed'");
  assert.strictEqual(changed.rowCount, 50);
  await c.query('ROLLBACK');
  assert.strictEqual((await c.query("SELECT count(*) FROM n_rows WHERE v = 'changed'")).rows[0].count, '0');
});

check('errors have fields', async (c) => {
  await assert.rejects(c.query('INSERT INTO n_rows VALUES ($1, $2)', [1, 'x']), (error) => {
    assert.strictEqual(error.code, '23505');
    assert.strictEqual(error.table, 'n_rows');
    assert.strictEqual(error.constraint, 'n_rows_pkey');
    assert.strictEqual(error.schema, 'public');
    return true;
  });
  await assert.rejects(c.query('SELECT nope FROM n_rows'), { code: '42703', position: '8' });
  assert.strictEqual((await c.query('SELECT 1 AS one')).rows[0].one, 1);
});

check('several statements', async (c) => {
  const results = await c.query('SELECT 1 AS a; SELECT v FROM n_rows WHERE k = 2; SELECT count(*) FROM n_rows');
  assert.deepStrictEqual(results.map((r) => Object.values(r.rows[0])[0]), [1, 'row 2', '50']);
});

check('cursor', async (c) => {
  const cursor = c.query(new Cursor('SELECT k FROM n_rows ORDER BY k'));
  const keys = [];
  for (let rows = await cursor.read(7); rows.length; rows = await cursor.read(7)) keys.push(...rows.map((r) => r.k));
  assert.deepStrictEqual(keys, Array.from({ length: 50 }, (_, n) => n + 1));
  await cursor.close();
  const early = c.query(new Cursor('SELECT k FROM n_rows ORDER BY k'));
  assert.strictEqual((await early.read(3)).length, 3);
  await early.close();
  assert.strictEqual((await c.query('SELECT 1 AS one')).rows[0].one, 1);
});

check('copy streams', async (c) => {
  const lines = Array.from({ length: 5000 }, (_, n) => `${n + 100}\tline ${n}\n`);
  await pipeline(Readable.from(lines), c.query(copyFrom('COPY n_rows FROM STDIN')));
  let out = '';
  await pipeline(c.query(copyTo('COPY n_rows TO STDOUT')),
    new Writable({ write(chunk, _, done) { out += chunk; done(); } }));
  assert.strictEqual(out.split('\n').length - 1, 5050);
  assert.strictEqual((await c.query('DELETE FROM n_rows WHERE k >= 100')).rowCount, 5000);
});

check('notifications', async (c, make) => {
  const heard = new Promise((resolve) => c.once('notification', resolve));
  await c.query('LISTEN n_news');
  const other = await make();
  await other.query("NOTIFY n_news, 'hello'");
  await other.end();
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('no notification')), 5000).unref());
  assert.strictEqual((await Promise.race([heard, late])).payload, 'hello');
});

check('statement timeout', async (c) => {
  const started = Date.now();
  await assert.rejects(c.query('SELECT pg_sleep(10)'), { code: '57014' });
  assert.ok(Date.now() - started < 1500);
}, { statement_timeout: 300 });

check('pool', async (c, make, options) => {
  const pool = new Pool({ ...options, max: 10 });
  const values = await Promise.all(Array.from({ length: 500 }, (_, n) =>
    pool.query('SELECT v, $2::text AS token FROM n_rows WHERE k = $1', [n % 50 + 1, `t${n}`])));
  values.forEach((r, n) => assert.deepStrictEqual(r.rows, [{ v: `row ${n % 50 + 1}`, token: `t${n}` }]));
  await pool.end();
});

check('over TLS', async (c) => {
  assert.ok(c.connection.stream.encrypted);
  assert.strictEqual((await c.query('SELECT v FROM n_rows WHERE k = 1')).rows[0].v, 'row 1');
}, { ssl: { rejectUnauthorized: false } });

check('channel binding', async (c) => {
  assert.strictEqual((await c.query('SELECT v FROM n_rows WHERE k = 1')).rows[0].v, 'row 1');
}, { ssl: { rejectUnauthorized: false }, enableChannelBinding: true });

check('large value', async (c) => {
  const value = Buffer.alloc(64 * 1024 * 1024, 'abcdefg');
  const back = await c.query('SELECT length($1::bytea) AS n, $1::bytea AS v', [value]);
  assert.strictEqual(back.rows[0].n, value.length);
  assert.ok(back.rows[0].v.equals(value));
});

check('wrong password', async (c, make) => {
  await assert.rejects(make({ password: 'wrong' }), { code: '28P01' });
});

check('clean up', async (c) => {
  await c.query('DROP TABLE n_rows, n_types');
});

async function main() {
  const options = { host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER,
    password: process.env.PGPASSWORD, database: process.env.PGDATABASE };
  const make = async (extra) => {
    const client = new Client({ ...options, ...extra });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  let failed = 0;
  for (const { name, body, options: extra } of checks) {
    let client;
    try {
      client = await make(extra);
      await body(client, make, options);
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${String(error.message || error).replaceAll('\n', ' ')}`);
    } finally {
      if (client) client.end().catch(() => {});
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
