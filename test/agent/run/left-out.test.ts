import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { changedLeftOut, hashedAtStart, hashLeftOut } from '../../../src/agent/run/left-out.ts'
import { fold } from '../../../src/domain/evolve.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { openWorkspace, workspaceOf } from '../../workspace/support.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const read = { calls: [{ tool: 'file_read', args: { path: 'a' } }] }
const install = { calls: [{ tool: 'bash_exec', args: { command: 'echo 2 >node_modules/a.js' } }] }
const finish = { calls: [reachGoal] }
const config = { max_turns_per_iteration: 50, on_tampering: 'report' } as const
const { signal } = new AbortController()

async function shopWith(script: Script, ignored = 0) {
  const shop = await Workshop.open(script)
  await shop.file('a', 'a')
  await shop.file('.gitignore', '*.out\n')
  await shop.file('node_modules/a.js', '1')
  await shop.file('inner/.git/HEAD', 'ref: refs/heads/main')
  await shop.file('inner/b', 'b')
  for (let at = 0; at < ignored; at += 1) await writeFile(join(shop.project, `${at}.out`), `${at}`)
  /** What was recorded of the start, and what is there now. */
  const compared = async (records: readonly RunRecord[]) => {
    const state = fold(records)
    if (state === null) throw new Error('no run')
    const before = await hashedAtStart(shop.store, state, shop.artifacts.read)
    const paths = before?.map(({ path }) => ({ path, why: 'ignored' as const })) ?? []
    const { hashed: now } = await hashLeftOut(workspaceOf(shop.project), paths, signal)
    const changed = now.filter(({ sha256 }, at) => sha256 !== before?.[at]?.sha256)
    return { before, changed: changed.map(({ path }) => path), hashedAt: state.snapshot?.hashedAt }
  }
  return { shop, compared }
}

/** Effects with which hashes wait for a word. */
function held() {
  const [begun, letGo] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const open: typeof openWorkspace = (project) => {
    const files = openWorkspace(project)
    const ask = files.ask.bind(files)
    const waiting = async (...asked: Parameters<typeof ask>) => {
      if (asked[0] === 'hashes') {
        begun.resolve()
        await letGo.promise
      }
      return ask(...asked)
    }
    return Object.assign(files, { ask: waiting as typeof ask })
  }
  return { effects: { openWorkspace: open }, begun: begun.promise, letGo: letGo.resolve }
}

const kindsOf = (records: readonly RunRecord[]): string[] => records.map(({ kind }) => kind)

test('what snapshots leave out is hashed once, beside the first request, and recorded before a call writes', async () => {
  const { shop, compared } = await shopWith([read, install, install, finish])
  await using _ = shop
  const records = await shop.play(config)
  const at = kindsOf(records).indexOf('left_out_hashed')
  expect(only(records, 'left_out_hashed').payload.entries).toEqual([
    { path: 'inner', sha256: expect.stringMatching(/^[\da-f]{64}$/) },
    { path: 'node_modules', sha256: expect.stringMatching(/^[\da-f]{64}$/) },
  ])
  expect(records[at - 1]).toMatchObject({ kind: 'tool_call', payload: { tool: 'bash_exec' } })
  expect(records[at + 1]).toMatchObject({ kind: 'tool_result', payload: { tool: 'bash_exec' } })
  expect(await compared(records)).toMatchObject({ hashedAt: at, changed: ['node_modules'] })
})

test('no request and no call that reads waits for the hashes, but the first call that may write does', async () => {
  const { shop } = await shopWith([read, read, install, finish])
  await using _ = shop
  const { effects, begun, letGo } = held()
  shop.startAgent({ effects })
  const runId = await shop.create(config)
  await begun
  const first = await shop.until(runId, 'tool_result')
  const second = await shop.until(runId, 'tool_result', first.length - 1)
  const before = await shop.until(runId, 'tool_call', second.length - 1)
  expect(kindsOf(before)).not.toContain('left_out_hashed')
  expect(payloadsOf(before, 'tool_result')).toHaveLength(2)
  letGo()
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.achieved).toBe(true)
  expect(kindsOf(records).indexOf('left_out_hashed')).toBe(before.length)
})

test.each([
  [
    'before a call that writes, the next server records them',
    [read, install, finish],
    'tool_result',
  ],
  ['when a call that writes has begun, it is too late', [install, finish], 'tool_call'],
] as const)('if the server stops %s', async (_, script, until) => {
  const { shop, compared } = await shopWith([...script])
  await using __ = shop
  const { effects, begun, letGo } = held()
  const first = shop.startAgent({ effects })
  const runId = await shop.create(config)
  await begun
  await shop.until(runId, until)
  const stopped = first.stop()
  letGo()
  await stopped
  shop.startAgent({ unfinished: [runId] })
  const records = await shop.until(runId, 'run_end')
  const isLate = until === 'tool_call'
  expect(payloadsOf(records, 'left_out_hashed')).toHaveLength(isLate ? 0 : 1)
  const { hashedAt, before } = await compared(records)
  expect(hashedAt).toEqual(isLate ? null : expect.any(Number))
  expect(before === null).toBe(isLate)
})

test('a long list of hashes is an artifact', async () => {
  const { shop, compared } = await shopWith([install, finish], 300)
  await using _ = shop
  const records = await shop.play(config)
  expect(only(records, 'left_out_hashed').payload.entries).toMatchObject({ count: 302 })
  const { before, changed } = await compared(records)
  expect(before).toHaveLength(302)
  expect(changed).toEqual(['node_modules'])
})

test('what differs from the start, has no hash, is new or is a dependency that is gone counts as changed', () => {
  const hashed = (path: string, digit: string | null) => ({
    path,
    sha256: digit?.repeat(64) ?? null,
  })
  const paths = ['a/.venv', 'dist', 'inner', 'large', 'node_modules', 'other', 'same']
  const why = (path: string) => (['inner', 'other'].includes(path) ? 'repository' : 'ignored')
  const leftOut = paths.map((path) => ({ path, why: why(path) }) as const)
  const before = [
    hashed('a/.venv', '1'),
    hashed('dist', '1'),
    hashed('gone', '1'),
    hashed('inner', '1'),
    hashed('large', null),
    hashed('other', '1'),
    hashed('same', '1'),
    hashed('vendor', '1'),
  ]
  const now = [
    hashed('a/.venv', '1'),
    hashed('dist', '2'),
    hashed('inner', '2'),
    hashed('large', null),
    hashed('node_modules', '1'),
    hashed('other', '1'),
    hashed('same', '1'),
  ]
  expect(changedLeftOut(before, now, leftOut)).toEqual({
    packages: ['node_modules', 'vendor'],
    others: ['dist', 'inner', 'large'],
  })
  expect(changedLeftOut(null, now, leftOut)).toEqual({
    packages: ['a/.venv', 'node_modules'],
    others: ['dist', 'inner', 'large', 'other', 'same'],
  })
})
