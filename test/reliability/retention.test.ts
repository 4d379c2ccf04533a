import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cp, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ok } from 'neverthrow'
import { describe, expect } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { signingOf } from '../../src/cli/data-folder.ts'
import { createClient } from '../../src/client/index.ts'
import type { Signing } from '../../src/log/chain.ts'
import { decideAndAppend } from '../../src/log/decider.ts'
import { load, streamOf } from '../../src/log/run-log.ts'
import { RETENTION } from '../../src/retention/ledger.ts'
import { CLI, cleanEnv, retrai, WITH_PARENT } from '../cli/support.ts'
import { SocketReader } from '../http/live/watcher.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import { answered, bash, Site, type SiteServer, until } from '../support/site.ts'
import { test as base } from '../support/test.ts'
import { fails } from './support.ts'

const SECRET = 'orchid-on-the-sill'
const help = { tool: 'run_subagent', args: { instructions: 'Help.' } }

/** The agent of a run in `gone` starts a sub-agent, and prints more than a record holds. */
const script: Script = ({ turn, conversation, messages }) => {
  if (JSON.stringify(messages).includes('# Instructions\\nHelp.')) return { text: 'I helped.' }
  if (conversation.includes('/slow.')) return bash('true')
  if (!conversation.includes('/gone.')) return bash('touch done')
  return turn === 0 ? { calls: [help] } : bash(`seq 1 9000; echo ${SECRET}; touch done`)
}

const SERVING = { RETRAI_CHECKPOINT_SECONDS: '1' }

async function serve(site: Site, store?: StandIn, env: Record<string, string> = {}) {
  const model = await site.model(script)
  const server = await site.serve('data', {
    model,
    env: { ...SERVING, ...env },
    ...(store && { store }),
  })
  await server.untilReady()
  return server
}

async function achieved(server: SiteServer, site: Site, name: string, changes: object = {}) {
  const runId = await server.start(await site.project(name), changes)
  await server.untilStatus(runId, 'achieved')
  return runId
}

/** A policy for the runs in this project. */
const policyFor = (site: Site, project: string, action: string, match: object = {}) =>
  site.write(
    'policy.json',
    JSON.stringify({ rules: [{ name: 'old', match: { project, ...match }, action }] }),
  )

const idsOf = async (server: SiteServer) =>
  (JSON.parse((await server.get('/api/runs')).text) as { run_id: string }[]).map((r) => r.run_id)

const ledgerOf = async (server: SiteServer) =>
  (await server.get('/api/ledgers/retention')).text.split('\n').filter((line) => line !== '')

/** The subagent that a run has started. */
async function subagentOf(server: SiteServer, runId: string): Promise<string> {
  const { body } = await server.get(`/api/runs/${runId}`)
  return String((body.subagents as { run_id: string }[])[0]?.run_id)
}

/** The packs of the snapshots of a run. */
async function packsOf(server: SiteServer, runId: string): Promise<string[]> {
  const { text } = await server.get(`/api/runs/${runId}/events?kinds=snapshot`)
  const records = JSON.parse(text) as { payload: { packs: { sha256: string }[] } }[]
  return records.flatMap(({ payload }) => payload.packs.map(({ sha256 }) => sha256))
}

/** Whether a text is in a file of a folder, such as an artifact or the log. */
async function holds(folder: string, text: string): Promise<boolean> {
  for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    if ((await readFile(join(file.parentPath, file.name))).includes(text)) return true
  }
  return false
}

/** Verifies a log or exports, with this exit code. @returns what that prints */
async function verified(place: readonly string[], expected = 0): Promise<string> {
  const { code, stdout, stderr } = await retrai(['verify', ...place], cleanEnv())
  expect(code, stdout + stderr).toBe(expected)
  return stdout + stderr
}

/** @returns what a command that succeeded has printed */
async function done(running: ReturnType<typeof retrai>): Promise<string> {
  const { code, stdout, stderr } = await running
  expect(code, stderr).toBe(0)
  return stdout
}

/** Resolves once the last checkpoint covers the ledger. */
const untilCovered = (server: SiteServer) =>
  until(() => server.get('/api/checkpoints/latest/runs/retrai-retention'), answered(200))

/** Runs in `gone` and its sub-agent, in `gone2`, which starts none, and in `kept`. */
type Ids = Readonly<Record<'gone' | 'subagent' | 'gone2' | 'kept', string>>
type Left = { readonly site: Site; readonly ids: Ids }

/**
 * `left` is what a server has left whose last checkpoint covers all its runs; `ids` are these runs, and the data folder of
 * `site` is a copy of that folder.
 */
const test = base
  .extend('left', { scope: 'file' }, async ({ serverOptions: _ }, { onCleanup }): Promise<Left> => {
    const site = await Site.open()
    onCleanup(() => site.close())
    const server = await serve(site)
    const run = async (name: string) => achieved(server, site, name)
    const [gone, gone2, kept] = await Promise.all([run('gone'), run('gone2'), run('kept')])
    const ids = { gone, subagent: await subagentOf(server, gone), gone2, kept }
    await untilCoversRuns(server, ids)
    await server.stop()
    return { site, ids }
  })
  .extend('ids', async ({ left, site }) => {
    await cp(left.site.path('data'), site.path('data'), { recursive: true })
    return left.ids
  })

const untilCoversRuns = (server: SiteServer, ids: Ids) =>
  until(
    async () =>
      Promise.all(
        Object.values(ids).map(async (id) => {
          const { body } = await server.get(`/api/checkpoints/latest/runs/${id}`)
          const { body: run } = await server.get(`/api/runs/${id}`)
          const progress = run.progress as { seq: number }
          return (body.leaf as { length: number } | undefined)?.length === progress.seq + 1
        }),
      ),
    (all) => all.every(Boolean),
  )

describe.for(['a data folder', 'an EventStoreDB'])('in %s', (kind) => {
  test('a run leaves with its sub-agent, what it shares stays, and all that names it holds', async ({
    site,
  }) => {
    const store = kind === 'a data folder' ? undefined : await site.standIn()
    const server = await serve(site, store)
    const key = { 'idempotency-key': 'once' }
    const request = {
      goal: 'shell-goal',
      cwd: await site.project('gone'),
      model_name: 'scripted',
      max_iterations: 5,
      max_turns_per_iteration: 1,
    }
    const gone = String((await server.post('/api/runs', request, key)).body.run_id)
    await server.untilStatus(gone, 'achieved')
    const subagent = await subagentOf(server, gone)
    const kept = await achieved(server, site, 'kept')
    const keptPacks = await packsOf(server, kept)
    await rm(site.path('gone', 'done'))
    const next = await server.post('/api/runs', {
      continues: { run_id: gone },
      instructions: 'Again.',
    })
    const later = String(next.body.run_id)
    await server.untilStatus(later, 'achieved')
    const shared = (await packsOf(server, gone)).filter((pack) => keptPacks.includes(pack))
    expect(shared).not.toEqual([])
    const feed = new SocketReader({ port: Number(new URL(server.url).port) }, '?after=end', String)
    await feed.opened()

    const policy = await policyFor(site, site.path('gone'), 'remove', { status: 'achieved' })
    // Only the first one: the continuation is held.
    expect((await server.retrai('hold', later, '--reason', 'A lawsuit')).code).toBe(0)
    expect((await server.get(`/api/runs/${later}`)).body.hold).toMatchObject({
      reason: 'A lawsuit',
      principal: 'local',
    })
    const before = [await ledgerOf(server), await idsOf(server)]
    const dry = await done(server.retrai('retention', '--policy', policy, '--dry-run', '--json'))
    const listed = dry
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(listed.map(({ run_id, kept: why }) => [run_id, why === null])).toEqual(
      expect.arrayContaining([
        [gone, true],
        [subagent, true],
        [later, false],
      ]),
    )
    expect([await ledgerOf(server), await idsOf(server)]).toEqual(before)

    await done(server.retrai('retention', '--policy', policy))
    for (const path of ['', '/events', '/export', '/proof', '/conversation', '/redactions']) {
      const answer = await server.get(`/api/runs/${gone}${path}`)
      expect(answer.status, path).toBe(410)
      expect(answer.body).toMatchObject({
        type: 'urn:retrai:problem:run_removed',
        removal: { run_id: gone, rule: 'old', action: 'remove', principal: 'local' },
      })
    }
    expect((await server.get(`/api/runs/${subagent}`)).status).toBe(410)
    for (const [digits, why] of [
      [gone.slice(0, 8), 'The run was removed at '],
      ['0000', 'No run has an id that begins with 0000'],
    ] as const) {
      const shown = await server.retrai('show', digits)
      expect(shown).toMatchObject({ code: 3, stderr: expect.stringContaining(why) })
    }
    expect(await idsOf(server)).toEqual(expect.not.arrayContaining([gone, subagent]))
    expect((await server.post('/api/runs', request, key)).status).toBe(410)
    for (const from of [{ continues: { run_id: gone } }, { fork: { run_id: gone, at: 0 } }]) {
      const again = await server.post('/api/runs', { ...from, instructions: 'Again.' })
      expect(again.body).toMatchObject({ status: 410, removal: { run_id: gone } })
    }
    expect((await server.get('/api/events?limit=5000')).text).not.toContain(gone)
    expect((await server.get(`/api/runs/${later}`)).status).toBe(200)
    // It begins from the one that is gone.
    const conversation = await server.get(`/api/runs/${later}/conversation`)
    expect(conversation.body).toMatchObject({ status: 410, removal: { run_id: gone } })
    const watched = server.watch(gone)
    expect(await watched.closed).toEqual({ code: 4404, reason: 'the run was removed' })
    expect(watched.texts.join()).toContain(String.raw`by the rule \"old\" of local`)
    // Who watches all runs still does.
    const fresh = await achieved(server, site, 'fresh')
    await until(() => feed.texts.some((text) => text.includes(fresh)), Boolean)
    expect(feed.socket.readyState).toBe(feed.socket.OPEN)
    feed.socket.close()
    await untilCovered(server)
    const whole = await verified(['--server', server.url])
    expect(whole).toContain('Removed: 2 runs, all recorded.')
    await server.stop()
    const log = store ? ['--store', store.connectionString] : ['--data-dir', site.path('data')]
    await verified(log)
    // A new read model knows as little of it.
    for (const name of await readdir(site.path('data'))) {
      if (name.startsWith('read-model')) await rm(site.path('data', name))
    }
    const again = await serve(site, store)
    expect((await again.get(`/api/runs/${gone}`)).status).toBe(410)
    expect((await idsOf(again)).sort()).toEqual([kept, later, fresh].sort())
    expect((await again.get('/health/ready')).status).toBe(200)
  })
})

/** Where a command dies, one after the other: each begins with what the one before it has left. */
const POINTS = ['after append of run_removed', 'after removal of artifact', 'after removal of run']

const offline = (site: Site, policy: string, ...args: string[]) =>
  retrai(['retention', '--policy', policy, '--data-dir', site.path('data'), ...args], cleanEnv())

/** A command that archives the runs in two projects. */
async function archiving(site: Site, { site: origin }: Left): Promise<string[]> {
  const rules = ['gone', 'gone2'].map((name) => ({
    name,
    match: { project: origin.path(name) },
    action: 'archive',
  }))
  const policy = await site.write('policy.yml', JSON.stringify({ rules }))
  return ['retention', '--policy', policy, '--archive', site.path('archive')]
}

/** Nothing of these runs is left, and their archives hold. */
async function expectArchived(site: Site, ids: readonly string[]): Promise<void> {
  expect(await holds(site.path('data'), SECRET)).toBe(false)
  await verified(['--data-dir', site.path('data')])
  const files = await readdir(site.path('archive'))
  expect(files.sort()).toEqual(ids.map((id) => `retrai-run-${id}.tar.gz`).sort())
  for (const file of files) await verified([site.path('archive', file)])
}

test('commands without a server that are killed, each at another point, are ended by the next one', async ({
  left,
  ids: { gone, subagent, gone2, kept },
  site,
}) => {
  const args = [...(await archiving(site, left)), '--data-dir', site.path('data')]
  const there = () =>
    site.withLog('data', async (store) => {
      const runs = await Promise.all(
        [gone, subagent, gone2, kept].map(async (id) => (await load(store, id))._unsafeUnwrap()),
      )
      return runs.flatMap((run) => run?.state.runId ?? [])
    })
  for (const point of POINTS) {
    const env = { ...cleanEnv(), RETRAI_CRASH_AT: point }
    const killed = spawn(process.execPath, [...WITH_PARENT, CLI, ...args], { env, stdio: 'ignore' })
    expect(await once(killed, 'exit'), point).toEqual([null, 'SIGKILL'])
    const before = await there()
    // A dry run changes nothing, not even what is left to do.
    expect((await retrai([...args, '--dry-run'], cleanEnv())).code, point).toBe(0)
    expect(await there(), point).toEqual(before)
  }
  await done(retrai(args, cleanEnv()))
  expect(await there()).toEqual([kept])
  await expectArchived(site, [gone, subagent, gone2])
})

test('a server that is killed during a removal ends it at its next start, and the same command the rest', async ({
  left,
  ids: { gone, subagent, gone2, kept },
  site,
}) => {
  const ids = [gone, subagent, gone2]
  const server = await serve(site, undefined, { RETRAI_CRASH_AT: 'before removal of run#2' })
  const dead = once(server.process, 'exit')
  const command = await archiving(site, left)
  expect((await server.retrai(...command)).code).not.toBe(0)
  await dead
  const again = await serve(site)
  const recorded = (await ledgerOf(again)).length
  const statuses = async () =>
    Promise.all(ids.map(async (id) => (await again.get(`/api/runs/${id}`)).status))
  expect((await statuses()).filter((status) => status === 410)).toHaveLength(recorded)
  await done(again.retrai(...command))
  expect(await statuses()).toEqual([410, 410, 410])
  expect(await ledgerOf(again)).toHaveLength(3)
  expect(await idsOf(again)).toEqual([kept])
  await untilCovered(again)
  await again.stop()
  await expectArchived(site, ids)
})

test('a stopped server: a hold on a sub-agent keeps the whole family, until it is released', async ({
  left,
  ids,
  site,
}) => {
  const holding = await serve(site)
  await holding.ask('PUT', `/api/runs/${ids.subagent}/hold`, { reason: 'A lawsuit' })
  for (const method of ['PUT', 'DELETE']) {
    const unknown = await holding.ask(method, `/api/runs/${randomUUID()}/hold`, { reason: 'Why' })
    expect(unknown.status).toBe(404)
  }
  await holding.stop()
  const policy = await policyFor(site, left.site.path('gone'), 'archive')
  expect((await offline(site, policy)).stderr).toContain('--archive FOLDER')
  const kept = await offline(site, policy, '--archive', site.path('archive'))
  expect(kept.stdout).toContain(`it stays: run ${ids.subagent} is on hold: A lawsuit`)
  expect(kept).toMatchObject({ code: 0, stderr: '0 runs removed.\n' })
  const server = await serve(site)
  expect((await server.retrai('hold', ids.subagent, '--release')).stdout).toContain('not on hold')
  await server.stop()
  const removed = await offline(site, policy, '--archive', site.path('archive'))
  expect(removed, removed.stderr).toMatchObject({ code: 0, stderr: '2 runs removed.\n' })
  const exports = ['gone', 'subagent'].map((name) =>
    site.path('archive', `retrai-run-${ids[name as 'gone']}.tar.gz`),
  )
  expect(await verified(exports)).toContain('Compared 1 sub-agent')
  const back = await retrai(
    ['import', exports[0] ?? '', '--data-dir', site.path('data')],
    cleanEnv(),
  )
  expect(back).toMatchObject(fails('this log removed'))
  await done(retrai(['import', exports[0] ?? '', '--data-dir', site.path('other')], cleanEnv()))
  expect(await holds(site.path('data'), SECRET)).toBe(false)
  await verified(['--data-dir', site.path('data')])
})

describe('verification finds', () => {
  const cases: Record<string, (db: DatabaseSync, ids: Ids) => void> = {
    'a run that is gone without an entry': (db, { kept }) => {
      const stream = `(SELECT id FROM streams WHERE name = 'run-${kept}')`
      db.exec(`DELETE FROM events WHERE stream_id = ${stream}`)
    },
    'a run whose entry is taken away': (db) => {
      const stream = "(SELECT id FROM streams WHERE name = 'retrai-retention')"
      db.exec(`DELETE FROM events WHERE stream_id = ${stream}`)
    },
    'an entry that is changed to another run': (db, { gone, kept }) => {
      db.exec(`UPDATE events SET data = replace(data, '${gone}', '${kept}')
        WHERE type = 'run_removed'`)
    },
    'an entry about another length': (db) => {
      db.exec(`UPDATE events SET data = replace(data, '"length":', '"length":1')
        WHERE type = 'run_removed'`)
    },
  }
  test.for(Object.entries(cases))('%s', async ([, alter], { left, ids, site }) => {
    const policy = await policyFor(site, left.site.path('gone'), 'remove')
    expect((await offline(site, policy)).code).toBe(0)
    await verified(['--data-dir', site.path('data')])
    const db = new DatabaseSync(site.path('data', 'log.sqlite'))
    db.exec('PRAGMA foreign_keys = OFF')
    alter(db, ids)
    db.close()
    const found = await verified(['--data-dir', site.path('data')], 1)
    expect(found).toContain('DOES NOT HOLD')
  })
})

test('an entry that nobody has signed is found, and one that is not carried out, until a server starts', async ({
  ids: { gone, kept },
  site,
}) => {
  const remove = (runId: string, sign?: Signing) =>
    site.withLog('data', async (store) => {
      const run = (await load(store, runId))._unsafeUnwrap()
      const end = { length: (run?.state.seq ?? 0) + 1, head: run?.head ?? '' }
      const payload = { run_id: runId, ...end, rule: 'mine', action: 'remove' } as const
      const author = { commandId: 'x', principal: 'mallory' }
      const entries = () => ok([{ kind: 'run_removed', ts: 1, payload } as const])
      const options = sign === undefined ? {} : { sign }
      const added = await decideAndAppend(store, RETENTION, entries, author, options)
      added._unsafeUnwrap()
      if (sign !== undefined) return
      expect((await store.removeStream?.(streamOf(runId), end.length - 1))?.isOk()).toBe(true)
    })
  const verify = (code: number) => verified(['--data-dir', site.path('data')], code)
  await remove(gone, signingOf(site.path('data')))
  expect(await verify(1)).toContain(`run ${gone}: unexpected`)
  const server = await serve(site)
  expect((await server.get(`/api/runs/${gone}`)).status).toBe(410)
  await server.stop()
  // Its sub-agent says who has started it.
  expect(await verify(0)).toContain(`run ${gone}, whose agent started it`)
  await remove(kept)
  const unsigned = 'ledger retention, record 1: signature: nobody has signed it'
  expect(await verify(1)).toContain(unsigned)
})

test('a copy that is not applied keeps its run, and a run that waits for a person is not listed', async ({
  site,
}) => {
  const server = await serve(site)
  const copied = await achieved(server, site, 'copied', { workspace: 'copy' })
  const waiting = await server.start(await site.project('slow'), { hitl_enabled: true })
  await server.untilStatus(waiting, 'awaiting_human')
  const rules = [{ name: 'all', match: { older_than_days: 0 }, action: 'remove' }]
  const policy = await site.write('policy.json', JSON.stringify({ rules }))
  const retained = async () => (await server.retrai('retention', '--policy', policy)).stdout
  expect(await retained()).toContain('it stays: its copy is not applied')
  expect((await server.post(`/api/runs/${copied}/apply`, { as: 'files' })).status).toBe(200)
  expect(await retained()).not.toContain(waiting)
  expect((await server.get(`/api/runs/${copied}`)).status).toBe(410)
  expect(await idsOf(server)).toEqual([waiting])
  const rule = { ...rules[0], match: { tag: 'x' } }
  const tagged = () => server.post('/api/retention', { rules: [rule], dry_run: true })
  await server.post(`/api/runs/${waiting}/abort`, {})
  expect(JSON.parse((await tagged()).text)).toEqual([])
  const client = createClient({ baseUrl: server.url })
  ;(await client.runs.configure(waiting, { tags: ['x'] }))._unsafeUnwrap()
  expect((await tagged()).text).toContain(waiting)
})

test('a policy that is not valid names each mistake', async ({ site }) => {
  const rule = { name: 'old', match: { tag: '', age: 3 }, action: 'delete' }
  const policy = await site.write('policy.json', JSON.stringify({ rules: [rule] }))
  const { code, stderr } = await offline(site, policy)
  expect(code).toBe(3)
  expect(stderr).toContain('must be keep, archive or remove')
  expect(stderr).toContain('age')
})
