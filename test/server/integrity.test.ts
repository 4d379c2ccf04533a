import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Writable } from 'node:stream'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { PublishedKeys } from '../../src/api/audit.ts'
import { decide } from '../../src/domain/decide.ts'
import { fold } from '../../src/domain/evolve.ts'
import type { Signer } from '../../src/log/entry-seal.ts'
import type { VerifyPace } from '../../src/server/integrity.ts'
import { readSettings } from '../../src/server/read-settings.ts'
import { type Server, startServer } from '../../src/server/start-server.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { newKeys, withTaken } from '../audit/support.ts'
import { retrai } from '../cli/support.ts'
import { append, prepare } from '../support/append-records.ts'
import { isMissing } from '../support/missing.ts'
import { createdRecord } from '../support/run-records.ts'

const Ready = z.object({
  ready: z.boolean(),
  checks: z.object({ integrity: z.object({ ok: z.boolean(), detail: z.string().optional() }) }),
})
type Line = { readonly msg: string; readonly where?: string; readonly message?: string }

const RUNS = [randomUUID(), randomUUID(), randomUUID()]
const [RUN = ''] = RUNS
/** The whole log is not verified during a test. */
const HEADS_ONLY = { firstAfterMs: 3_600_000 }
const AT_ONCE = { firstAfterMs: 0, restTimes: 0 }
/** Resets the log to before its last checkpoint. */
const RESET = `DELETE FROM events WHERE position >=
  (SELECT min(position) FROM events WHERE type LIKE 'checkpoint%');
  DELETE FROM streams WHERE id NOT IN (SELECT stream_id FROM events)`

let folder: string
let server: Server | null = null
let lines: Line[]
let woken = () => {}

const log = pino(
  { level: 'debug' },
  new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(JSON.parse(String(chunk)))
      woken()
      done()
    },
  }),
)

async function logged(wanted: (line: Line) => boolean): Promise<Line> {
  for (;;) {
    const found = lines.find(wanted)
    if (found !== undefined) return found
    await new Promise<void>((resolve) => {
      woken = resolve
    })
  }
}

async function start(dataDir: string, verify: Partial<VerifyPace>): Promise<Server> {
  lines = []
  const flags = { dataDir, port: '0' }
  const started = await startServer(
    readSettings(flags, { RETRAI_ISOLATION: 'none' })._unsafeUnwrap(),
    { log, verify },
  )
  server = started._unsafeUnwrap()
  await logged(({ msg }) => msg === 'the read model has caught up with the log')
  return server
}

async function stop(): Promise<void> {
  await server?.close()
  server = null
}

const readiness = async () => {
  const answer = await fetch(`${server?.url}/health/ready`)
  return { status: answer.status, ...Ready.parse(await answer.json()) }
}

/** Makes the data folder of a stopped server with some ended runs and a checkpoint over them. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-integrity-'))
  const original = join(folder, 'original')
  await mkdir(original)
  const store = (await openEmbeddedStore({ file: join(original, 'log.sqlite') }))._unsafeUnwrap()
  for (const id of RUNS) {
    const created = createdRecord(id)
    const abort = { type: 'abort', reason: 'enough' } as const
    const ended = decide(abort, fold([created]), created.ts + 1)._unsafeUnwrap()
    const prepared = prepare(id, null, [created, ...ended], { commandId: 'made' })
    ;(await append(store, prepared))._unsafeUnwrap()
  }
  await store.close()
  await start(original, HEADS_ONLY)
  await stop()
})
afterEach(stop)
afterAll(() => rm(folder, { recursive: true }))

/** A copy of the folder in which this SQL was run on a file. */
async function changed(sql: string, file = 'log.sqlite'): Promise<string> {
  const dir = join(folder, randomUUID())
  await cp(join(folder, 'original'), dir, { recursive: true })
  const db = new DatabaseSync(join(dir, file), { defensive: false })
  db.exec(sql.replaceAll('$RUN', `(SELECT id FROM streams WHERE name = 'run-${RUN}')`))
  db.close()
  return dir
}

test('a server reports no findings for an unchanged folder', async () => {
  const dir = await changed('SELECT 1')
  // A killed process left this folder a long time ago.
  const left = join(dir, 'verify-left')
  await mkdir(left)
  await writeFile(join(left, 'read-model.sqlite'), 'texts')
  await utimes(left, 0, 0)
  await start(dir, AT_ONCE)
  await logged(({ msg }) => msg === 'the store was verified')
  expect((await readdir(dir)).filter((name) => name.startsWith('verify-'))).toEqual([])
  expect(await readiness()).toMatchObject({
    status: 200,
    ready: true,
    checks: { integrity: { ok: true } },
  })
  expect(lines.filter(({ msg }) => msg.includes('not intact'))).toEqual([])
})

describe('at its start a server reports, and still serves, when', () => {
  test.each([
    ['a run was dropped', 'DELETE FROM events WHERE stream_id = $RUN', 'was dropped'],
    [
      'the end of a run was cut off',
      'DELETE FROM events WHERE stream_id = $RUN AND revision = 1',
      'its end was cut off',
    ],
    ['the log was reset to before its last checkpoint', RESET, 'put back to an older state'],
    [
      'the log has the id of another log',
      `UPDATE events SET data = '{"log_id":"${randomUUID()}"}' WHERE type = 'log_created'`,
      'the id of this log is',
    ],
    [
      'the list of a checkpoint was changed',
      `UPDATE events SET data = replace(data, '${RUN}', '${randomUUID()}') WHERE type = 'checkpoint_runs'`,
      'do not give its root',
    ],
  ])('%s', async (_what, sql, message) => {
    await start(await changed(sql), HEADS_ONLY)
    await logged(
      (line) => line.msg === 'the stored data is not intact' && !!line.message?.includes(message),
    )
    const said = await readiness()
    expect(said).toMatchObject({ status: 200, ready: true, checks: { integrity: { ok: false } } })
    // Anybody may read it.
    expect(JSON.stringify(said)).not.toContain(RUN)
    expect((await fetch(`${server?.url}/api/runs`)).status).toBe(200)
  })
})

test.each([
  {
    what: 'an older log that was put back',
    prepare: async () => {},
    found: 'and last-checkpoint.json beside the log does',
    line: { where: 'checkpoint 0', message: expect.stringContaining('put back to an older state') },
  },
  {
    what: 'an older log with a damaged last-checkpoint.json',
    prepare: (dir: string) => writeFile(join(dir, 'last-checkpoint.json'), '{}'),
    found: 'last-checkpoint.json: unreadable: it must hold a checkpoint',
    line: {
      where: expect.stringMatching(/^lost-checkpoint-unreadable-/),
      message: expect.stringContaining('cannot be read'),
    },
  },
])(
  '$what is reported at every start and by verify, until somebody deletes the evidence',
  async ({ prepare, found, line }) => {
    const dir = await changed(RESET)
    await prepare(dir)
    const verified = async () => {
      const { code, stdout } = await retrai(['verify', '--data-dir', dir])
      return [code, stdout]
    }
    expect(await verified()).toEqual([1, expect.stringContaining(found)])
    // The server writes new checkpoints meanwhile.
    for (let begin = 0; begin < 2; begin += 1) {
      await start(dir, HEADS_ONLY)
      const evidence = await logged(
        ({ msg, where }) => msg === 'the stored data is not intact' && where !== undefined,
      )
      expect(evidence).toMatchObject(line)
      expect((await readiness()).checks.integrity.ok).toBe(false)
      await stop()
    }
    expect(await verified()).toEqual([1, expect.anything()])
    const [lost = ''] = (await readdir(dir)).filter((name) => name.startsWith('lost-checkpoint-'))
    await rm(join(dir, lost))
    expect(await verified()).toEqual([0, expect.anything()])
  },
)

test('verify says how many stored artifacts no record names, which is not a finding', async () => {
  const verified = async (dir: string, ...more: string[]) => {
    const { code, stdout } = await retrai(['verify', '--data-dir', dir, ...more])
    return [code, stdout]
  }
  const none = await changed('UPDATE events SET type = type')
  expect(await verified(none)).toEqual([0, expect.not.stringContaining('stored artifact')])
  await writeFile(join(none, 'notes'), 'mine')
  expect(await verified(none)).toEqual([
    0,
    expect.stringMatching(/because nothing signs it: .*notes, .*server-id, the dates in keys/),
  ])
  expect(await verified(none, '--json')).toEqual([
    0,
    expect.stringContaining('"unnamed_artifacts":0'),
  ])
  const stream = `retrai-artifact-${'c'.repeat(64)}`
  const two = await changed(
    `INSERT INTO streams (name) VALUES ('${stream}');
     INSERT INTO events SELECT max(position) + 1, (SELECT id FROM streams WHERE name = '${stream}'),
       0, '${randomUUID()}', 'artifact_chunk', '{}', '{}', 0 FROM events`,
  )
  await mkdir(join(two, 'artifacts/ab'), { recursive: true })
  await writeFile(join(two, 'artifacts/ab', 'ab'.repeat(32)), 'lost')
  expect(await verified(two)).toEqual([
    0,
    expect.stringContaining('No record names 2 stored artifacts'),
  ])
})

describe('what no server puts into the log is a finding of verify and of the server', () => {
  const stream = `INSERT INTO streams (name) VALUES ('other')`
  test.each([
    ['a table', 'CREATE TABLE notes (text TEXT)', 'the table notes, which no server'],
    ['a view', 'CREATE VIEW seen AS SELECT data FROM events', 'the view seen, which no server'],
    [
      'a trigger',
      'CREATE TRIGGER quiet AFTER INSERT ON events BEGIN DELETE FROM events WHERE revision = 9; END',
      'the trigger quiet, which no server',
    ],
    ['an index', 'CREATE INDEX by_type ON events (type)', 'the index by_type, which no server'],
    [
      'a lost index',
      'DROP INDEX rewritten_by_position',
      'not have the index rewritten_by_position',
    ],
    [
      'a changed index',
      'DROP INDEX rewritten_by_position; CREATE INDEX rewritten_by_position ON rewritten (id)',
      'its index rewritten_by_position is not as a server makes it',
    ],
    ['a stream', stream, 'the stream "other", which no server'],
    [
      'a run without the id of one',
      `${stream}; UPDATE streams SET name = 'run-other' WHERE name = 'other'`,
      'the stream "run-other", which no server',
    ],
    [
      'an artifact without a hash',
      `${stream}; UPDATE streams SET name = 'retrai-artifact-x' WHERE name = 'other'`,
      'the stream "retrai-artifact-x", which no server',
    ],
    [
      'a position that is far from the others',
      'UPDATE events SET position = position + 100000 WHERE position = (SELECT max(position) FROM events)',
      'its events skip 100000 positions',
    ],
  ])('%s', async (_what, sql, message) => {
    const dir = await changed(sql)
    const verified = await retrai(['verify', '--data-dir', dir])
    expect([verified.code, verified.stdout]).toEqual([
      1,
      expect.stringMatching(new RegExp(`log\\.sqlite: unexpected: .*${message}`)),
    ])
    await start(dir, AT_ONCE)
    await logged(
      (line) => line.msg === 'the stored data is not intact' && !!line.message?.includes(message),
    )
  })
})

/** The index of the events, rebuilt from a copy that has the last record of the run in another stream. */
const HIDDEN = `
  CREATE TABLE shadow (position INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, revision INTEGER NOT NULL,
    id, type, data, metadata, created, UNIQUE (stream_id, revision));
  INSERT INTO shadow SELECT position, iif(stream_id = $RUN AND revision > 0, 9999, stream_id),
    revision, id, type, data, metadata, created FROM events;
  PRAGMA writable_schema = ON;
  UPDATE sqlite_schema SET rootpage = (SELECT sum(rootpage) FROM sqlite_schema
    WHERE name IN ('sqlite_autoindex_events_1', 'sqlite_autoindex_shadow_1')) - rootpage
    WHERE name IN ('sqlite_autoindex_events_1', 'sqlite_autoindex_shadow_1');
  PRAGMA writable_schema = RESET;
  DROP TABLE shadow`

test('an index that hides records is found by verify, and no server starts on it', async () => {
  const dir = await changed(HIDDEN)
  const verified = await retrai(['verify', '--data-dir', dir])
  expect([verified.code, verified.stdout]).toEqual([
    1,
    expect.stringMatching(
      /log\.sqlite: unexpected: SQLite finds that it is damaged: .*missing from index/,
    ),
  ])
  const settings = readSettings({ dataDir: dir, port: '0' }, { RETRAI_ISOLATION: 'none' })
  const started = await startServer(settings._unsafeUnwrap(), { log })
  expect(started._unsafeUnwrapErr()).toContain('is damaged')
})

test('bytes after the end of the database are found', async () => {
  const dir = await changed('SELECT 1')
  await appendFile(join(dir, 'log.sqlite'), 'x'.repeat(5000))
  const verified = await retrai(['verify', '--data-dir', dir])
  expect([verified.code, verified.stdout]).toEqual([1, expect.stringContaining('5000 bytes')])
})

test.each([
  [
    'a changed record',
    `UPDATE events SET data = replace(data, '"ts":', '"ts":1') WHERE stream_id = $RUN AND revision = 0`,
    `run ${RUN}`,
  ],
  [
    'an entry of a ledger that was added',
    `INSERT INTO streams (name) VALUES ('retrai-tokens');
     INSERT INTO events SELECT max(position) + 1, (SELECT id FROM streams WHERE name = 'retrai-tokens'),
       0, '${randomUUID()}', 'token_created', '{}', '{}', 0 FROM events`,
    'ledger tokens',
  ],
])('after its start a server finds %s', async (_what, sql, where) => {
  await start(await changed(sql), AT_ONCE)
  await logged((line) => line.msg === 'the stored data is not intact' && line.where === where)
  expect((await readiness()).checks.integrity.ok).toBe(false)
})

describe('a redaction that is put in without the key of the server', () => {
  /** The folder with a text of a run taken away, and an entry about it. @param signer who signs the entry */
  async function forged(signer: Signer | null): Promise<string> {
    const dir = await changed('SELECT 1')
    const store = (await openEmbeddedStore({ file: join(dir, 'log.sqlite') }))._unsafeUnwrap()
    const page = { from: 0, direction: 'forward', limit: 10 } as const
    const run = (await store.readStream(`run-${RUN}`, page))._unsafeUnwrap()
    const taken = withTaken(run, [{ seq: 0, pointer: '/system_prompt' }], undefined, signer)
    const [record] = taken
    const entry = taken.at(-1)
    if (record === undefined || entry === undefined) throw new Error('nothing was taken')
    ;(await store.overwrite?.([record]))?._unsafeUnwrap()
    const { id, type, data, metadata } = entry
    const appended = await store.append('retrai-redactions', [{ id, type, data, metadata }], {
      expectedRevision: 'no_stream',
    })
    appended._unsafeUnwrap()
    await store.close()
    return dir
  }

  test('does not hold: not in the folder, not for the server, and not in an export that it makes then', async () => {
    const dir = await forged(null)
    const verified = await retrai(['verify', '--data-dir', dir])
    const message = 'nobody has signed it'
    expect([verified.code, verified.stdout]).toEqual([1, expect.stringContaining(message)])
    await start(dir, AT_ONCE)
    await logged(
      (line) => line.msg === 'the stored data is not intact' && !!line.message?.includes(message),
    )
    expect((await readiness()).checks.integrity.ok).toBe(false)
    const archive = join(dir, 'run.tar.gz')
    const exported = await retrai(['export', RUN, '-o', archive, '--server', server?.url ?? ''])
    expect(exported.code).toBe(0)
    const offline = await retrai(['verify', archive])
    expect([offline.code, offline.stdout]).toEqual([1, expect.stringContaining('it is forged')])
    const online = await retrai(['verify', '--server', server?.url ?? ''])
    expect([online.code, online.stdout]).toEqual([1, expect.stringContaining(message)])
    if (isMissing('python3')) return
    const verifier = join(import.meta.dirname, '../audit/verify.py')
    const python = spawnSync('python3', [verifier, archive], { encoding: 'utf8' })
    expect([python.status, python.stdout]).toEqual([1, expect.stringContaining('it is forged')])
  })

  test('and signed by another key is that of a stranger, even if somebody publishes it', async () => {
    const keys = await newKeys()
    const dir = await forged(keys.signer)
    const verified = await retrai(['verify', '--data-dir', dir])
    expect([verified.code, verified.stdout]).toEqual([1, expect.stringContaining('not published')])
    const file = join(dir, 'keys/keyring.json')
    const ring = PublishedKeys.parse(JSON.parse(await readFile(file, 'utf8')))
    const own = ring.keys[0]?.fingerprint ?? ''
    const added = keys.published.keys.map((key) => ({ ...key, retired: key.created }))
    await writeFile(file, JSON.stringify({ keys: [...ring.keys, ...added] }))
    const published = await retrai(['verify', '--data-dir', dir, '--fingerprint', own])
    expect(published.code).toBe(2)
  })
})

describe('a changed read model is rebuilt at the start, and this is reported', () => {
  const state = `(SELECT replace(state, '"enough"', '"other"') FROM runs WHERE run_id = '${RUN}')`
  test.each([
    ['the state of a run', `UPDATE runs SET state = ${state} WHERE run_id = '${RUN}'`],
    ['a column', `UPDATE runs SET status = 'achieved' WHERE run_id = '${RUN}'`],
    ['a run removed', `DELETE FROM runs WHERE run_id = '${RUN}'`],
    [
      'a run added',
      `INSERT INTO runs SELECT '${randomUUID()}', created_at, goal, status, parent_run_id, seq, head, state, seal FROM runs LIMIT 1`,
    ],
    ['all runs removed', 'DELETE FROM runs'],
    ['the position', 'UPDATE progress SET revision = revision + 1'],
    ['the sum of all rows', `UPDATE progress SET rows = '${'1'.repeat(64)}'`],
    ['the seal', 'UPDATE progress SET seal = NULL'],
    ['a run that is listed as damaged', `INSERT INTO damaged VALUES ('${RUN}', 0, 'no')`],
  ])('%s', async (_what, sql) => {
    const dir = await changed(sql, 'read-model.sqlite')
    const found = await retrai(['verify', '--data-dir', dir])
    // Only the seal shows these changes. The log does not contradict them.
    const contradicted = !/progress SET (rows|seal)|damaged/.test(sql)
    expect(found.stdout.includes('read model: '), found.stdout).toBe(contradicted)
    await start(dir, HEADS_ONLY)
    const run = await (await fetch(`${server?.url}/api/runs/${RUN}`)).json()
    expect(run).toMatchObject({ status: 'aborted', end_reason: expect.stringContaining('enough') })
    const said = await readiness()
    expect(said.checks.integrity.ok).toBe(false)
    expect(said.checks.integrity.detail).toContain('The read model was changed')
  })
})

test('verify finds a read model that was changed together with its seals, and the server rebuilds it', async () => {
  const dir = await changed('SELECT 1', 'read-model.sqlite')
  const { Sealer, sealKey, summed } = await import('../../src/projections/read-model-seal.ts')
  const db = new DatabaseSync(join(dir, 'read-model.sqlite'))
  const sealer = new Sealer(sealKey(join(dir, 'read-model.sqlite.key')))
  const Row = z.object({
    ...{ run_id: z.string(), created_at: z.string(), goal: z.string(), status: z.string() },
    parent_run_id: z.string().nullable(),
    ...{ seq: z.int(), head: z.string(), state: z.string(), seal: z.string() },
  })
  const row = Row.parse(db.prepare('SELECT * FROM runs WHERE run_id = ?').get(RUN))
  const state = row.state.replaceAll('enough', 'another')
  const seal = sealer.row({ ...row, state })
  db.prepare('UPDATE runs SET state = ?, seal = ? WHERE run_id = ?').run(state, seal, RUN)
  const Progress = z.looseObject({ rows: z.string() })
  const progress = Progress.parse(
    db
      .prepare(`SELECT log_id, position, stream, revision, event_id, redaction, rows, '[]' AS damaged
        FROM progress`)
      .get(),
  )
  const rows = summed(progress.rows, [row.seal], [seal])
  const whole = sealer.of('progress', { ...progress, rows })
  db.prepare('UPDATE progress SET rows = ?, seal = ?').run(rows, whole)
  db.close()
  const found = await retrai(['verify', '--data-dir', dir])
  expect(found.stdout).toContain(`it differs from the log about run ${RUN}`)
  await start(dir, HEADS_ONLY)
  expect((await readiness()).checks.integrity.ok).toBe(true)
  const remote = await retrai(['verify', '--server', server?.url ?? ''])
  expect(remote.stdout).toContain(`run ${RUN}: the answer of the server does not match the records`)
  await stop()
  await start(dir, AT_ONCE)
  await logged(({ msg }) => msg === 'the store was verified')
  await logged(({ msg }) => msg === 'the read model has caught up with the log')
  expect((await readiness()).checks.integrity.detail).toContain('The read model was changed')
})
