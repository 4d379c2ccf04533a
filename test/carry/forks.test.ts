import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { expect } from 'vitest'
import { RunRecord } from '../../src/domain/records.ts'
import { folderAt } from '../../src/sandbox/project-folder.ts'
import { append, prepare } from '../support/append-records.ts'
import { isMissing } from '../support/missing.ts'
import { bash, type Site, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'
import { carried, IN_COPY, recordOf, repository, sh, sums } from './support.ts'

const STEPS = [
  bash(
    'echo one >a.txt; ln -s a.txt link; echo x >x; mkdir -p deep/er; echo d >deep/er/d; echo K=1 >.env',
  ),
  bash('echo two >a.txt; rm link x gone.txt; chmod +x untracked; echo y >y; touch done'),
]

/** What a server has recorded of a run. */
const recordsOf = async (server: SiteServer, runId: string) =>
  JSON.parse((await server.get(`/api/runs/${runId}/events?kinds=all&meta=true`)).text)

/** Begins a run in a copy that begins from another one, as the log has it. */
async function forked(
  site: Site,
  origin: string,
  seq: number,
  how: { of: string; kind?: string; records: unknown[]; more?: object },
) {
  const { of, records, kind = 'fork', more = {} } = how
  const all = records as {
    seq: number
    kind: string
    payload: Record<string, unknown>
    meta: { hash: string }
  }[]
  const runId = randomUUID()
  const { project: _, idempotency: __, copy_of: ___, ...payload } = all[0]?.payload ?? {}
  const config = {
    ...(payload.config as object),
    workspace: 'copy',
    cwd: site.path('data-copies', runId, 'project'),
  }
  const record = RunRecord.parse({
    kind: 'run_created',
    run_id: runId,
    iteration: 0,
    ts: Date.now() / 1000,
    payload: {
      ...payload,
      config,
      copy_of: folderAt(of),
      ...more,
      origin: { kind, run_id: origin, seq, hash: all[seq]?.meta.hash },
    },
  })
  await site.withLog('data', async (store) => {
    const prepared = prepare(runId, null, [record], { commandId: randomUUID() })
    expect((await append(store, prepared)).isOk()).toBe(true)
  })
  return runId
}

test.skipIf(isMissing('git'))(
  'a fork has the files of a snapshot, and what that left out as it is now',
  async ({ site }) => {
    const project = await repository(site)
    const model = await site.model(STEPS)
    const server = await site.serve('data', { model })
    const origin = await server.start(project, { on_tampering: 'off' })
    await server.untilStatus(origin, 'achieved')
    const records = await recordsOf(server, origin)
    const [, second] = records.filter(({ kind }: { kind: string }) => kind === 'snapshot')
    await server.stop()
    // People have worked on since then.
    sh(
      project,
      'echo theirs >a.txt; echo more >more; rm -r deep; mkdir link; echo in >link/in; echo K=2 >.env; echo v2 >node_modules/x/index.js',
    )
    const now = sums(project)
    const runId = await forked(site, origin, second.seq + 1, { of: project, records })
    // It only looks at the goal: which is not reached, as `done` is not there yet.
    const idle = await site.serve('data', {
      // The reply of the origin is the first of this conversation.
      model: await site.model([{ text: '' }, bash('cat a.txt; touch done')]),
    })
    await idle.untilStatus(runId, 'achieved')
    const copy = site.path('data-copies', runId, 'project')
    expect(sums(project)).toBe(now)
    expect(
      sh(
        copy,
        'cat a.txt x deep/er/d gone.txt .env node_modules/x/index.js; readlink link; ls more 2>&1 || true; test ! -x untracked',
      ),
    ).toMatch(/^one\nx\nd\n2\nK=2\nv2\na\.txt\nls: /)
    const copied = await recordOf(idle, runId, 'project_copied')
    expect(copied).toMatchObject({
      snapshot: { run_id: origin, seq: second.seq, tree: second.payload.tree },
      not_restored: ['.env', 'build.log', 'node_modules'],
    })
    const first = await recordOf(idle, runId, 'snapshot')
    expect(first.tree).not.toBe(second.payload.tree)
  },
)

test.skipIf(isMissing('git'))(
  'a fork or a continuation of a copied run applies what both did, and a continuation works in the same copy',
  async ({ site }) => {
    const project = await repository(site)
    const before = sums(project)
    const model = await site.model([bash('echo first >>a.txt; echo f >f; touch done')])
    const server = await site.serve('data', { model })
    const origin = await server.start(project, IN_COPY)
    await server.untilStatus(origin, 'achieved')
    const records = await recordsOf(server, origin)
    const copy = site.path('data-copies', origin, 'project')
    await server.stop()
    const instructions = 'More'
    const last = records.length - 1
    const own = await forked(site, origin, last, { of: project, records, more: { instructions } })
    const config = { ...records[0].payload.config, cwd: copy }
    const there = { instructions, config, project: folderAt(copy) }
    const on = await forked(site, origin, last, {
      of: project,
      kind: 'continue',
      records,
      more: there,
    })
    const next = await site.model(({ messages }) => {
      const asked = messages.findLastIndex(({ content }) => content.includes(instructions))
      const isFirst = messages.slice(asked).every(({ role }) => role !== 'assistant')
      return isFirst ? bash('echo second >>a.txt; rm gone.txt') : { text: 'Done.' }
    })
    const again = await site.serve('data', { model: next })
    for (const runId of [own, on]) await again.untilStatus(runId, 'achieved')
    expect(sums(project)).toBe(before)
    expect(sh(site.path('data-copies', own, 'project'), 'cat a.txt')).toBe(
      '1\nuncommitted\nfirst\nsecond',
    )
    expect(sh(copy, 'cat a.txt')).toBe('1\nuncommitted\nfirst\nsecond')
    expect(existsSync(site.path('data-copies', on))).toBe(false)
    const apply = (runId: string, how: object) => again.post(`/api/runs/${runId}/apply`, how)
    for (const runId of [own, on]) {
      const { body } = await apply(runId, { as: 'files', dry_run: true })
      expect(body.files).toEqual(carried('write a.txt', 'write done', 'write f', 'delete gone.txt'))
    }
    // What the origin did is there already.
    expect((await apply(origin, { as: 'files' })).status).toBe(200)
    expect((await apply(on, { as: 'files' })).body.files).toEqual(
      carried('write a.txt', 'delete gone.txt'),
    )
    expect(sh(project, 'cat a.txt')).toBe('1\nuncommitted\nfirst\nsecond')
    expect(existsSync(copy)).toBe(false)
  },
)

test('a fork from before the first snapshot has the files as the run found them', async ({
  site,
}) => {
  const project = await site.project()
  const server = await site.serve('data', { model: await site.model([bash('touch done')]) })
  const forkOf = async (run_id: string) => {
    const { body } = await server.post('/api/runs', { fork: { run_id, at: 0 }, max_iterations: 1 })
    await server.untilStatus(String(body.run_id), 'achieved')
    return recordOf(server, String(body.run_id), 'project_copied')
  }
  const worked = await server.start(project, { on_tampering: 'off' })
  await server.untilStatus(worked, 'achieved')
  const records = await recordsOf(server, worked)
  const { seq } = records.find(({ kind }: { kind: string }) => kind === 'snapshot')
  expect(await forkOf(worked)).toMatchObject({ snapshot: { run_id: worked, seq } })

  await rm(`${project}/done`)
  const paused = await server.start(project, { max_tokens: 1, on_limit: 'pause' })
  await server.untilStatus(paused, 'paused')
  const waiting = await server.start(project)
  expect(await forkOf(waiting)).not.toHaveProperty('snapshot')
})

test('what is gone is never written and never deleted, and is named', async ({ site }) => {
  const project = await site.project()
  const script = 'echo marigold >flower; echo y >y; cat flower; touch done'
  const server = await site.serve('data', { model: await site.model([bash(script)]) })
  const origin = await server.start(project, IN_COPY)
  await server.untilStatus(origin, 'achieved')
  const records = await recordsOf(server, origin)
  const { seq } = records.find(({ kind }: { kind: string }) => kind === 'tool_result')
  const redact = { seq, pointer: '/output', reason: 'A name' }
  expect((await server.post(`/api/runs/${origin}/redact`, redact)).status).toBe(200)
  await rm(site.path('data-copies', origin), { recursive: true })
  const { body } = await server.post(`/api/runs/${origin}/apply`, { as: 'files' })
  expect(body).toMatchObject({
    files: [{ path: 'done' }, { path: 'y' }],
    not_carried: ['flower'],
  })
  expect(existsSync(`${project}/flower`)).toBe(false)
  const inBranch = await server.post(`/api/runs/${origin}/apply`, { as: 'branch' })
  expect(inBranch.body.detail).toContain('no repository of git')
  const { text } = await server.get(`/api/runs/${origin}/events?kinds=changes_applied`)
  expect(JSON.parse(text)[0].payload).toMatchObject({ count: 2, not_carried: ['flower'] })
  await server.stop()
  const runId = await forked(site, origin, records.length - 1, { of: project, records })
  const again = await site.serve('data', { model: await site.model([]) })
  await again.untilStatus(runId, 'achieved')
  expect(await recordOf(again, runId, 'project_copied')).toMatchObject({ not_restored: ['flower'] })
  expect(existsSync(site.path('data-copies', runId, 'project', 'flower'))).toBe(false)
})
