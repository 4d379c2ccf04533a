import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { type Client, createClient } from '../../../src/client/index.ts'
import { handleCommand } from '../../../src/log/handle-command.ts'
import { recordsOf } from '../../support/requests.ts'
import { CLAIM, replyWith, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'

const TOKEN = 'a-token-of-sixteen-characters-or-more'
const RULE = { tool: 'bash_exec', action: 'ask', reason: 'It writes' } as const
const BY_OTHERS = { ...RULE, by: 'other_than_starter' } as const
type Rule = typeof RULE | typeof BY_OTHERS
const CALL_SHA = 'ab'.repeat(32)
const CALL = { call_id: 'c0', tool: 'bash_exec', args: { command: 'git push' } }

const test = testWith({ token: TOKEN })
let guarded: TestServer
test.beforeAll(({ server }) => {
  guarded = server
})

const admin = () => createClient({ baseUrl: guarded.url, token: TOKEN })

async function operator(name: string): Promise<Client> {
  const made = (await admin().tokens.create({ name, role: 'operator' }))._unsafeUnwrap()
  return createClient({ baseUrl: guarded.url, token: made.secret })
}

/** A run of this client in which a call waits. @returns its id, and the seq of the question */
async function waitingRun(client: Client, rule: Rule = RULE) {
  const created = await client.runs.create({ goal: 'pytest', approvals: [rule] })
  return waiting(created._unsafeUnwrap().run_id, rule)
}

/** The run of a sub-agent in which a call waits for somebody else than the starter. */
async function subagentOf(parentId: string, depth: number) {
  const runId = randomUUID()
  const limits = { max_cost_usd: null, max_tokens: null, max_seconds: null, max_iterations: 1 }
  const goal = { goal: 'pytest', cwd: '/p', model_name: 'm', hitl_enabled: false, shell_goal: null }
  const config = { ...goal, ...limits, approvals: [BY_OTHERS] }
  const parent = { run_id: parentId, call_id: 'c9', seq: 3, hash: 'cd'.repeat(32), depth }
  const create = { type: 'create', runId, config, system_prompt: 'Help.', parent } as const
  const options = { author: { commandId: randomUUID() }, now: () => 1 }
  ;(await handleCommand(guarded.store, runId, create, options))._unsafeUnwrap()
  return waiting(runId, BY_OTHERS)
}

async function waiting(runId: string, rule: Rule) {
  const verdict = {
    action: 'ask',
    rule: { of: 'run', index: 0, content: rule },
    doubt: null,
  } as const
  const review = { type: 'record_review', callId: 'c0', callSha256: CALL_SHA, verdict } as const
  await guarded.agentDoes(runId, CLAIM, replyWith([CALL]), review)
  const seq = (await recordsOf(guarded, runId)).length - 1
  await guarded.readModel.waitFor(runId, seq, 5_000)
  return { runId, seq }
}

const problemOf = (answer: Awaited<ReturnType<Client['runs']['answer']>>) =>
  answer.isErr() && answer.error.type === 'refused' ? answer.error.status : answer

test('a call that waits is shown with its rule, and its answer is recorded with who gave it', async () => {
  const ada = await operator('ada')
  const bo = await operator('bo')
  const { runId, seq } = await waitingRun(ada)
  const shown = (await ada.runs.get(runId))._unsafeUnwrap()
  expect(shown.status).toBe('awaiting_human')
  expect(shown.approvals).toEqual({ run: [RULE], server: [], lifted: [] })
  expect(shown.progress.waiting_for).toMatchObject({
    kind: 'approval_required',
    seq,
    approval: { call: CALL, call_sha256: CALL_SHA, content: RULE, doubt: null },
  })

  const answer = { decision: 'allow', call_sha256: CALL_SHA, lifts_rule: true } as const
  const other = { ...answer, call_sha256: 'cd'.repeat(32) }
  expect(problemOf(await ada.runs.answer(runId, seq, other))).toBe(409)
  expect(problemOf(await ada.runs.answer(runId, seq - 1, answer))).toBe(409)
  const both = await Promise.all([
    ada.runs.answer(runId, seq, answer),
    bo.runs.answer(runId, seq, { ...answer, decision: 'deny', lifts_rule: false }),
  ])
  expect(both.filter((one) => one.isOk())).toHaveLength(1)
  const [, second] = both.toSorted((one) => (one.isOk() ? -1 : 1))
  expect(second && problemOf(second)).toBe(409)
  const [asked, recorded] = (await recordsOf(guarded, runId)).slice(seq)
  expect(recorded?.meta.principal).toBe(both[0].isOk() ? 'ada' : 'bo')
  expect(recorded?.record).toMatchObject({
    kind: 'approval_response',
    payload: { answers: seq, call_sha256: CALL_SHA, shown_sha256: asked?.meta.hash },
  })
})

test('only another person answers where a rule asks for one, also for sub-agents; the starter may abort', async () => {
  const ed = await operator('ed')
  const flo = await operator('flo')
  const top = await waitingRun(ed, BY_OTHERS)
  const below = await subagentOf(top.runId, 1)
  const deeper = await subagentOf(below.runId, 2)
  const lost = await subagentOf(randomUUID(), 1)
  const answer = { decision: 'allow', call_sha256: CALL_SHA } as const
  for (const { runId, seq } of [top, below, deeper]) {
    expect(problemOf(await ed.runs.answer(runId, seq, answer))).toBe(403)
    expect(problemOf(await ed.runs.resume(runId, { decision: 'approve' }))).toBe(403)
    expect((await flo.runs.answer(runId, seq, answer)).isOk()).toBe(true)
  }
  expect(problemOf(await flo.runs.answer(lost.runId, lost.seq, answer))).toBe(403)
  const second = await waitingRun(ed, BY_OTHERS)
  const aborted = await ed.runs.resume(second.runId, { decision: 'abort', reason: 'no' })
  expect(aborted._unsafeUnwrap().status).toBe('aborted')
})

test('a server without tokens refuses a rule that nobody could answer', async ({ ownServer }) => {
  const client = createClient({ baseUrl: ownServer.url })
  const created = await client.runs.create({ goal: 'pytest', approvals: [BY_OTHERS] })
  const problem = created.isErr() && created.error.type === 'refused' ? created.error : null
  expect(problem).toMatchObject({
    status: 422,
    errors: [{ field: 'approvals', message: expect.stringContaining('retrai token create') }],
  })
})
