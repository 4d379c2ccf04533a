import { randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Script, ScriptedRequest, Turn } from '../../../examples/scripted-model/script.ts'
import type { Effects } from '../../../src/agent/run/effects.ts'
import { tokensOfTools } from '../../../src/domain/mcp-tools.ts'
import { present } from '../../../src/domain/present.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { beginningOf, namesArtifact } from '../../../src/log/lineage.ts'
import { load, streamOf } from '../../../src/log/run-log.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const TURNS = { max_turns_per_iteration: 20 }

/** The configuration of a run that has one iteration. */
const ONCE = { ...TURNS, max_iterations: 1 }

/** A run of the workshop, to its end, and its id. */
async function ended(shop: Workshop, config: Partial<RunConfig> = ONCE) {
  const runId = await shop.create(config)
  return { runId, records: await shop.until(runId, 'run_end') }
}

/** Starts a run that begins from another one. @param at its record; the last one if left out */
async function goOn(
  shop: Workshop,
  runId: string,
  instructions?: string,
  at?: number,
  config: Partial<RunConfig> = {},
): Promise<string> {
  const found = (await load(shop.store, runId, present({ to: at })))._unsafeUnwrap()
  if (found === null) throw new Error('there is no such run')
  const { state, head: hash } = found
  const { introduced, shellFolder: shell_folder } = state
  const kind = at === undefined ? 'continue' : 'fork'
  const next = randomUUID()
  await shop.command(next, {
    type: 'create',
    runId: next,
    config: { ...state.config, ...config },
    system_prompt: 'Mend it.',
    origin: { kind, run_id: runId, seq: state.seq, hash },
    taken_over: { introduced, ...present({ shell_folder }) },
    ...present({ instructions }),
  })
  return next
}

/** Looks, says something, and reaches the goal only if a person asks for that. */
const script: Script = ({ messages }): Turn => {
  const replies = messages.filter(({ role }) => role === 'assistant').length
  if (messages.some(({ content }) => content.includes('Finish.'))) {
    return messages.at(-1)?.role === 'tool' ? { text: 'It is done.' } : { calls: [reachGoal] }
  }
  const look = (n: number) => ({ tool: 'bash_exec', args: { command: `printf '${n}%09d'` } })
  return replies % 3 === 2 ? { text: 'I cannot.' } : { calls: [look(replies), look(100 + replies)] }
}

const told = (request: ScriptedRequest | undefined) =>
  request?.messages.filter(({ role }) => role === 'user').map(({ content }) => content) ?? []

test('a run can be begun from at each of its records, with what its model was sent unchanged', async () => {
  await using shop = await Workshop.open(script)
  shop.startAgent()
  const { runId, records } = await ended(shop)
  const requests = [...shop.requests]
  expect(records.length).toBeGreaterThan(25)
  const forkAt = async (at: number) => {
    const cwd = join(shop.folder, `fork-${at}`)
    await mkdir(cwd)
    const fork = await goOn(shop, runId, 'Finish.', at, { cwd })
    const { status } = only(await shop.until(fork, 'run_end'), 'run_end').payload
    expect(status).toBe('achieved')
    const first = shop.requests.find((request) => told(request).join().includes(`${cwd}.`))
    const replies = records.slice(0, at + 1).filter(({ kind }) => kind === 'assistant_message')
    const answered = replies.length === 0 ? [] : (requests[replies.length - 1]?.messages ?? [])
    expect(first?.messages.slice(0, answered.length)).toEqual(answered)
    expect(first?.messages.filter(({ role }) => role === 'assistant')).toHaveLength(replies.length)
    const [before, after] =
      told(first).at(-1)?.split('\n\nA person says about this run:\nFinish.') ?? []
    expect(before).toContain('The work continues here, in a new run.')
    expect(after).toContain('The goal was checked: not reached yet')
  }
  await Promise.all(records.keys().map(forkAt))
})

test('a run that was created while its origin was removed ends, and says why', async () => {
  await using shop = await Workshop.open(script)
  const agent = shop.startAgent()
  const { runId, records } = await ended(shop)
  await agent.stop()
  const next = await goOn(shop, runId)
  const gone = await shop.store.removeStream?.(streamOf(runId), records.length - 1)
  expect(gone?.isOk()).toBe(true)
  shop.startAgent({ unfinished: [next] })
  const { status, reason } = only(await shop.until(next, 'run_end'), 'run_end').payload
  expect(status).toBe('aborted')
  expect(reason).toBe(`The run ${runId}, from which this one begins, was removed`)
})

const CHAIN = 6

test('a chain of runs has one conversation, which is read from their records', async () => {
  await using shop = await Workshop.open([{ text: 'I cannot.' }])
  shop.startAgent()
  const runs = [await shop.create(ONCE)]
  for (let n = 0; n <= CHAIN; n += 1) {
    const last = runs.at(-1) ?? ''
    const records = await shop.until(last, 'run_end')
    const at = n % 2 === 0 ? records.length - 2 : undefined
    runs.push(await goOn(shop, last, `Try ${n}.`, at))
  }
  const last = runs.at(-1) ?? ''
  await shop.until(last, 'run_end')
  const { lineage, conversation } = (await beginningOf(shop.store, last))._unsafeUnwrap()
  expect(lineage.map(({ run_id }) => run_id)).toEqual(runs.slice(0, -1))
  expect(conversation?.turns?.count).toBe(CHAIN + 1)
  const { messages = [] } = shop.requests.at(-2) ?? {}
  const words = JSON.stringify(messages)
  for (let n = 0; n <= CHAIN; n += 1) expect(words).toContain(`Try ${n}.`)
  const [created] = await shop.records(last)
  expect(JSON.stringify(created)).not.toContain(`Try ${CHAIN - 1}.`)
})

test('the agent of a run that continues one reads what others have done to the files, and its record names it', async () => {
  await using shop = await Workshop.open(script)
  await shop.file('old.txt', 'old\n')
  await shop.file('same.txt', 'same\n')
  await shop.file('src/moved.txt', 'moved\n')
  shop.startAgent()
  const { runId } = await ended(shop)
  await writeFile(join(shop.project, 'old.txt'), 'changed\n')
  await rm(join(shop.project, 'src/moved.txt'))
  await shop.file('moved.txt', 'moved\n')
  const next = await goOn(shop, runId, 'Finish.')
  const records = await shop.until(next, 'run_end')
  const [first, ...others] = payloadsOf(records, 'snapshot')
  expect(first?.since_origin).toEqual({
    count: 3,
    files: [
      { path: 'moved.txt', change: 'added' },
      { path: 'old.txt', change: 'modified' },
      { path: 'src/moved.txt', change: 'deleted' },
    ],
  })
  expect(others.length).toBeGreaterThan(0)
  expect(others.every(({ since_origin }) => since_origin === undefined)).toBe(true)
  expect(told(shop.requests.at(-1)).join()).toContain(
    'Others have changed files since you stopped working. What you know of them is out of date:\nadded: moved.txt\nmodified: old.txt\ndeleted: src/moved.txt',
  )
  const again = await goOn(shop, next, 'Finish.')
  const [quiet] = payloadsOf(await shop.until(again, 'run_end'), 'snapshot')
  expect(quiet).not.toHaveProperty('since_origin')
})

test('a run continues one that was aborted in a call, and one that failed', async () => {
  await using shop = await Workshop.open(({ messages, turn }) => {
    if (messages.some(({ content }) => content.includes('Fail.'))) return { status: 400 }
    if (turn === 0) {
      const slow = { tool: 'bash_exec', args: { command: 'mkdir -p sub && cd sub' } }
      return { calls: [slow, { tool: 'bash_exec', args: { command: 'sleep 60' } }, reachGoal] }
    }
    return turn === 1 ? { calls: [{ tool: 'bash_exec', args: { command: 'pwd' } }] } : { text: '.' }
  })
  shop.startAgent()
  const runId = await shop.create(ONCE)
  const [, second] = payloadsOf(await shop.until(runId, 'tool_call', 10), 'tool_call')
  expect(second?.args.command).toBe('sleep 60')
  await shop.command(runId, { type: 'abort', reason: null })
  const failed = await goOn(shop, runId, 'Fail.')
  expect(only(await shop.until(failed, 'run_end'), 'run_end').payload.status).toBe('failed')
  const again = await goOn(shop, runId, 'Continue.')
  const results = payloadsOf(await shop.until(again, 'run_end'), 'tool_result')
  // Its shell is where it was.
  expect(results[0]?.output).toContain('project/sub')
  const asked = shop.requests.find(({ messages }) => JSON.stringify(messages).includes('Continue.'))
  const answers = asked?.messages.filter(({ role }) => role === 'tool') ?? []
  expect(answers.map(({ content }) => content)).toEqual([
    ...[/./, /\[aborted\]/, /\[unknown\]/].map((words) => expect.stringMatching(words)),
  ])
})

test('a run whose agent never saw its project is shown it when another run goes on', async () => {
  await using shop = await Workshop.open(script)
  await shop.file('done', '')
  const context = { documents: [], files: 'a.txt', git: null, programs: null }
  shop.startAgent({ effects: { readProject: async () => context } })
  const { runId, records: first } = await ended(shop, TURNS)
  expect(only(first, 'run_end').payload.status).toBe('achieved')
  expect(shop.requests).toHaveLength(0)
  const next = await goOn(shop, runId, 'Finish.')
  const records = await shop.until(next, 'run_end')
  expect(payloadsOf(records, 'project_context')).toEqual([context])
  const third = await goOn(shop, next, 'Finish.')
  expect(payloadsOf(await shop.until(third, 'run_end'), 'project_context')).toEqual([])
})

test('the whole outputs of a run can be read in one that begins from it', async () => {
  let left: string | undefined
  await using shop = await Workshop.open(({ messages, turn }): Turn => {
    if (turn === 0) {
      return { calls: [{ tool: 'bash_exec', args: { command: 'seq 20000' } }] }
    }
    const id = messages.find(({ role }) => role === 'tool')?.tool_call_id
    const isNew = messages.some(({ content }) => content.includes('Read it.'))
    if (!isNew || left !== undefined) return { text: 'I cannot.' }
    left = id
    return { calls: [{ tool: 'output_read', args: { call_id: id, offset: 9000, limit: 2 } }] }
  })
  const openOutput: Effects['openOutput'] = async (runId, sha256) =>
    (await namesArtifact(shop.store, runId, sha256))._unsafeUnwrap()
      ? shop.artifacts.read(sha256)
      : null
  shop.startAgent({ effects: { openOutput } })
  const { runId } = await ended(shop)
  const next = await goOn(shop, await goOn(shop, runId, undefined, 12), 'Read it.', 2)
  const [result] = payloadsOf(await shop.until(next, 'run_end'), 'tool_result')
  expect(result).toMatchObject({ tool: 'output_read', outcome: 'ok' })
  expect(result?.output).toContain('9000')
})

test('a run that begins from a shortened conversation shortens it further', async () => {
  const isAside = ({ messages }: ScriptedRequest): boolean =>
    /about to be replaced by a summary|Write a summary/.test(messages.at(-1)?.content ?? '')
  let n = 0
  await using shop = await Workshop.open((request): Turn => {
    if (isAside(request)) return { text: 'A summary.' }
    n += 1
    return { calls: [{ tool: 'bash_exec', args: { command: `: ${'0'.repeat(999)}${n}` } }] }
  })
  const tools = tokensOfTools(shop.toolbox.specs)
  shop.startAgent({
    effects: { models: { ...shop.models, contextBudget: async () => tools + 2_000 } },
  })
  const { runId, records: first } = await ended(shop, { ...ONCE, max_turns_per_iteration: 12 })
  const [before] = payloadsOf(first, 'context_compacted')
  expect(before?.turns).toBeGreaterThan(0)
  const next = await goOn(shop, runId, 'Continue.')
  const records = await shop.until(next, 'run_end')
  const made = payloadsOf(records, 'context_compacted')
  expect(made[0]?.turns).toBeGreaterThan(before?.turns ?? 0)
  for (const { turns, up_to } of made) {
    const record = records[up_to]
    // The turns of both runs are counted; a reply of the other one has no seq here.
    if (turns <= 12) expect(up_to).toBe(0)
    else expect(record?.kind).toBe('assistant_message')
  }
  expect(made.at(-1)?.turns).toBeGreaterThan(12)
  const { messages } = shop.requests.findLast((request) => !isAside(request)) ?? { messages: [] }
  expect(messages[2]?.content).toContain(`[The first ${made.at(-1)?.turns} turns of this run`)
})
