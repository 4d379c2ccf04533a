import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { verifyStore } from '../../../src/audit/verify/verify-store.ts'
import type { Kind } from '../../../src/domain/records.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { logPages } from '../../../src/log/stream-pages.ts'
import { only, SUBAGENTS, Workshop } from '../support.ts'

const verifiable = ({ store, artifacts }: Workshop) => ({
  reader: store,
  pages: () => logPages(store),
  keys: new Map(),
  projected: null,
  artifacts,
})

/** Longer than any silence of a server in these tests. */
const LEASE_MS = 3_600_000
const search = { tool: 'run_subagent', args: { instructions: 'Find the word.' } }
const endless = { tool: 'bash_exec', args: { command: 'sleep 1000' } }
const late = { text: 'Late.', delayMs: 600_000 }
const look = { tool: 'file_list', args: {} }

/** The parent starts a sub-agent, which has a script of its own. */
function family(subagent: Exclude<Script, (...args: never) => unknown>): Script {
  return (request) => {
    const isSubagent = JSON.stringify(request.messages).includes('# Instructions\\nFind the word.')
    // The parent starts no other one.
    if (!isSubagent) return request.turn === 0 ? { calls: [search] } : late
    return subagent[request.turn] ?? { calls: [look] }
  }
}

/** Where the sub-agent is, the record that shows it, its script, and the configuration of both. */
const PHASES: readonly [
  string,
  Kind | null,
  Exclude<Script, (...args: never) => unknown>,
  Partial<RunConfig>,
][] = [
  ['is not created yet', null, [{ calls: [endless] }], {}],
  ['is created and not at work yet', 'run_created', [{ calls: [endless] }], {}],
  ['waits for its model', 'step_start', [late], {}],
  ['is in a call', 'tool_call', [{ calls: [endless] }], {}],
  [
    'waits for a person',
    'human_check_required',
    [{ calls: [look] }],
    { hitl_enabled: true, max_turns_per_iteration: 1 },
  ],
  [
    'waits for an approval',
    'approval_required',
    [{ calls: [endless] }],
    { approvals: [{ tool: 'bash_exec', action: 'ask' }] },
  ],
  ['has ended', 'run_end', [{ text: 'The word is elephant.' }], {}],
]

test.each(PHASES)(
  'two servers: an abort while the sub-agent %s ends both runs, each once, and the logs of both agree',
  async (_, kind, script, config) => {
    await using shop = await Workshop.open(family(script))
    for (let server = 0; server < 2; server += 1) {
      shop.startAgent({ effects: { subagents: SUBAGENTS }, leaseMs: LEASE_MS })
    }
    const runId = await shop.create({ max_turns_per_iteration: 50, ...config })
    const started = await shop.until(runId, 'subagent_started')
    const { run_id: childId } = only(started, 'subagent_started').payload
    if (kind !== null) await shop.until(childId, kind)
    await shop.command(runId, { type: 'abort', reason: 'Enough' })
    const child = await shop.until(childId, 'run_end')
    expect(only(child, 'run_end').payload.status).toBe(kind === 'run_end' ? 'achieved' : 'aborted')
    expect(only(await shop.records(runId), 'run_end').payload.status).toBe('aborted')
    const report = await verifyStore(verifiable(shop))
    const { findings, family: families } = report._unsafeUnwrap()
    expect({ findings, families }).toEqual({
      findings: [],
      families: { compared: 1, not_compared: [] },
    })
  },
)

test('a sub-agent of a server that stopped is continued by another, and the logs of both runs agree', async () => {
  const slow = { tool: 'bash_exec', args: { command: 'touch begun; test -e go || sleep 1000' } }
  await using shop = await Workshop.open(family([{ calls: [slow] }, { text: 'Done.' }]))
  const effects = { subagents: SUBAGENTS }
  const first = shop.startAgent({ effects, leaseMs: LEASE_MS })
  const runId = await shop.create({ max_turns_per_iteration: 50, max_iterations: 1 })
  const started = await shop.until(runId, 'subagent_started')
  const { run_id: childId } = only(started, 'subagent_started').payload
  await shop.until(childId, 'tool_call')
  shop.startAgent({ effects, leaseMs: LEASE_MS })
  await first.stop()
  const child = await shop.until(childId, 'run_end')
  expect(child.filter(({ kind }) => kind === 'run_claimed')).toHaveLength(2)
  await shop.until(runId, 'tool_result')
  await shop.command(runId, { type: 'abort', reason: null })
  const report = await verifyStore(verifiable(shop))
  expect(report._unsafeUnwrap()).toMatchObject({ findings: [], family: { compared: 1 } })
})
