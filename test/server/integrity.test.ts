import { randomUUID } from 'node:crypto'
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Readable, Writable } from 'node:stream'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { PublishedKeys } from '../../src/api/audit.ts'
import { unpacked } from '../../src/audit/bundle/unpack.ts'
import { liveLines } from '../../src/audit/verify/report-lines.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { decide } from '../../src/domain/decide.ts'
import { fold } from '../../src/domain/evolve.ts'
import type { Signer } from '../../src/log/chain.ts'
import { readSettings } from '../../src/server/read-settings.ts'
import { type Server, startServer } from '../../src/server/start-server.ts'
import { verifyFolder } from '../../src/server/verify-folder.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { inPython } from '../audit/python.ts'
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
const HEADS_ONLY = 3_600_000
const AT_ONCE = 0
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

async function start(dataDir: string, verifyAfterMs: number): Promise<Server> {
  lines = []
  const flags = { dataDir, port: '0' }
  const started = await startServer(
    readSettings(flags, { RETRAI_ISOLATION: 'none' })._unsafeUnwrap(),
    { log, verifyAfterMs },
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

/** As `retrai verify --data-dir` reports it. */
async function verified(dataDir: string) {
  const report = (await verifyFolder({ dataDir, artifacts: {} }))._unsafeUnwrap()
  return { holds: report.holds, lines: liveLines(report).join('\n') }
}
const doesNotHold = (message: string | RegExp) => ({
  holds: false,
  lines: expect.stringMatching(message),
})
const isReported = (message: string) =>
  logged(
    (line) => line.msg === 'the stored data is not intact' && !!line.message?.includes(message),
  )

test('a server reports no findings for an unchanged folder', async () => {
  const dir = await changed('SELECT 1')
  await start(dir, AT_ONCE)
  await logged(({ msg }) => msg === 'the store was verified')
  expect(await readiness()).toMatchObject({
    status: 200,
    ready: true,
    checks: { integrity: { ok: true } },
  })
  expect(lines.filter(({ msg }) => msg.includes('not intact'))).toEqual([])
})

test('at its start a server reports what the last checkpoint shows, and still serves', async () => {
  const [, cut, listed] = RUNS
  const of = (run: string | undefined) => `(SELECT id FROM streams WHERE name = 'run-${run}')`
  await start(
    await changed(`
      DELETE FROM events WHERE stream_id = $RUN;
      DELETE FROM events WHERE stream_id = ${of(cut)} AND revision = 1;
      UPDATE events SET data = '{"log_id":"${randomUUID()}"}' WHERE type = 'log_created';
      UPDATE events SET data = replace(data, '${listed}', '${randomUUID()}') WHERE type = 'checkpoint_runs'`),
    HEADS_ONLY,
  )
  await isReported('was dropped')
  await isReported('the id of this log is')
  await isReported('do not give its root')
  // The run has no end any more. The server continues it only after that.
  await logged(({ message, where }) => !!message?.includes('cut off') && where === `run ${cut}`)
  const said = await readiness()
  expect(said).toMatchObject({ status: 200, ready: true, checks: { integrity: { ok: false } } })
  // Anybody may read it.
  expect(JSON.stringify(said)).not.toContain(RUN)
  expect((await fetch(`${server?.url}/api/runs`)).status).toBe(200)
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
    expect(await verified(dir)).toEqual(doesNotHold(found))
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
    expect((await verified(dir)).holds).toBe(false)
    const [lost = ''] = (await readdir(dir)).filter((name) => name.startsWith('lost-checkpoint-'))
    await rm(join(dir, lost))
    expect((await verified(dir)).holds).toBe(true)
  },
)

test('verify names the files of a data folder that nothing signs', async () => {
  const dir = await changed('SELECT 1')
  await writeFile(join(dir, 'notes'), 'mine')
  const { code, stdout } = await retrai(['verify', '--data-dir', dir])
  expect(code).toBe(0)
  expect(stdout).toMatch(/because nothing signs it: .*notes, .*server-id, the dates in keys/)
})

test('what no server puts into the log, and what was changed in it, is a finding of verify and of the server', async () => {
  const stream = (name: string) => `INSERT INTO streams (name) VALUES ('${name}');`
  const dir = await changed(`
    ${stream('other')} ${stream('run-other')} ${stream('retrai-artifact-x')} ${stream('retrai-tokens')}
    INSERT INTO events SELECT max(position) + 1, (SELECT id FROM streams WHERE name = 'retrai-tokens'),
      0, '${randomUUID()}', 'token_created', '{}', '{}', 0 FROM events;
    UPDATE events SET data = replace(data, '"ts":', '"ts":1') WHERE stream_id = $RUN AND revision = 0;
    UPDATE events SET position = position + 100000 WHERE position = (SELECT max(position) FROM events)`)
  const messages = [
    ...['other', 'run-other', 'retrai-artifact-x'].map(
      (name) => `the stream "${name}", which no server`,
    ),
    'its events skip 100000 positions',
    '5000 bytes that are not of the database come after its end',
  ]
  await appendFile(join(dir, 'log.sqlite'), 'x'.repeat(5000))
  const { holds, lines: found } = await verified(dir)
  expect(holds).toBe(false)
  for (const message of messages) {
    expect(found).toMatch(new RegExp(`log\\.sqlite: unexpected: .*${message}`))
  }
  await start(dir, AT_ONCE)
  for (const message of messages) await isReported(message)
  for (const where of [`run ${RUN}`, 'ledger tokens']) await logged((line) => line.where === where)
  expect((await readiness()).checks.integrity.ok).toBe(false)
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
  const damaged = /log\.sqlite: unexpected: SQLite finds that it is damaged: .*missing from index/
  expect(await verified(dir)).toEqual(doesNotHold(damaged))
  const settings = readSettings({ dataDir: dir, port: '0' }, { RETRAI_ISOLATION: 'none' })
  const started = await startServer(settings._unsafeUnwrap(), { log })
  expect(started._unsafeUnwrapErr()).toContain('is damaged')
})

describe('a redaction that is put in without the key of the server', () => {
  /** The folder with a text of a run taken away, and an entry about it. @param signer who signs the entry */
  async function forged(signer: Signer | null): Promise<string> {
    const dir = await changed('SELECT 1')
    const store = (await openEmbeddedStore({ file: join(dir, 'log.sqlite') }))._unsafeUnwrap()
    const page = { from: 0, direction: 'forward', limit: 10 } as const
    const run = (await store.readStream(`run-${RUN}`, page))._unsafeUnwrap()
    const taken = withTaken(run, [{ seq: 0, pointer: '/system_prompt' }], signer)
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
    const message = 'nobody has signed it'
    expect(await verified(dir)).toEqual(doesNotHold(message))
    await start(dir, AT_ONCE)
    await isReported(message)
    expect((await readiness()).checks.integrity.ok).toBe(false)
    const exported = await fetch(`${server?.url}/api/runs/${RUN}/export`)
    const archive = Buffer.from(await exported.arrayBuffer())
    const offline = await verifyBundle(unpacked(Readable.from([archive])))
    expect(offline.findings.map((found) => found.message)).toEqual([
      expect.stringContaining('it is forged'),
    ])
    const online = await retrai(['verify', '--server', server?.url ?? ''])
    expect([online.code, online.stdout]).toEqual([1, expect.stringContaining(message)])
    if (isMissing('python3')) return
    const [python] = await inPython([archive])
    expect(python?.findings.join()).toContain('it is forged')
  })

  test('and signed by another key is that of a stranger, even if somebody publishes it', async () => {
    const keys = await newKeys()
    const dir = await forged(keys.signer)
    expect(await verified(dir)).toEqual(doesNotHold('not published'))
    const file = join(dir, 'keys/keyring.json')
    const ring = PublishedKeys.parse(JSON.parse(await readFile(file, 'utf8')))
    const own = ring.keys[0]?.fingerprint ?? ''
    const added = keys.published.keys.map((key) => ({ ...key, retired: key.created }))
    await writeFile(file, JSON.stringify({ keys: [...ring.keys, ...added] }))
    const published = await retrai(['verify', '--data-dir', dir, '--fingerprint', own])
    expect(published.code).toBe(2)
  })
})

describe('a changed read model is found by a comparison with the log', () => {
  const state = `(SELECT replace(state, '"enough"', '"other"') FROM runs WHERE run_id = '${RUN}')`
  test.each([
    ['a column', `UPDATE runs SET status = 'achieved' WHERE run_id = '${RUN}'`],
    ['a run removed', `DELETE FROM runs WHERE run_id = '${RUN}'`],
    [
      'a run added',
      `INSERT INTO runs SELECT '${randomUUID()}', created_at, updated_at, goal, status, project, model_name, principal, cost, iteration, tags, text, parent_run_id, origin_run_id, seq, head, listed, state FROM runs LIMIT 1`,
    ],
    ['all runs removed', 'DELETE FROM runs'],
    ['the position', 'UPDATE progress SET revision = revision + 1'],
  ])('%s', async (_what, sql) => {
    const dir = await changed(sql, 'read-model.sqlite')
    expect(await verified(dir)).toEqual(doesNotHold('read model: '))
  })

  test('the state of a run, which the server then rebuilds', async () => {
    const sql = `UPDATE runs SET state = ${state} WHERE run_id = '${RUN}'`
    const dir = await changed(sql, 'read-model.sqlite')
    expect(await verified(dir)).toEqual(doesNotHold(`it differs from the log about run ${RUN}`))
    await start(dir, HEADS_ONLY)
    expect((await readiness()).checks.integrity.ok).toBe(true)
    await stop()
    await start(dir, AT_ONCE)
    await logged(({ msg }) => msg === 'the store was verified')
    await logged(({ msg }) => msg === 'the read model has caught up with the log')
    expect((await readiness()).checks.integrity.detail).toContain('The read model was changed')
    const run = await (await fetch(`${server?.url}/api/runs/${RUN}`)).json()
    expect(run).toMatchObject({ status: 'aborted', end_reason: expect.stringContaining('enough') })
  })
})
