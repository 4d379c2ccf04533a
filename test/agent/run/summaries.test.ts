import { describe, expect, test } from 'vitest'
import type {
  Fault,
  Script,
  ScriptedRequest,
  Turn,
} from '../../../examples/scripted-model/script.ts'
import { tokensOfTools } from '../../../src/domain/mcp-tools.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { only, payloadsOf, played, reachGoal, Workshop } from '../support.ts'

const config = { max_turns_per_iteration: 200, max_iterations: 2 }
const isCompaction = ({ messages }: Pick<ScriptedRequest, 'messages'>): boolean =>
  messages.at(-1)?.content.includes('about to be replaced by a summary') === true
const isSummary = ({ messages }: Pick<ScriptedRequest, 'messages'>): boolean =>
  messages.at(-1)?.content.includes('Write a summary for the person') === true

/** Prints 1,000 characters, another text each time. */
const chat = (n: number): Turn => ({
  calls: [{ tool: 'bash_exec', args: { command: `printf '${n}%0999d'` } }],
})

/** Has arguments of 1,000 characters, and prints nothing that could be left out. */
const quietChat = (n: number): Turn => ({
  calls: [{ tool: 'bash_exec', args: { command: `: ${'0'.repeat(999)}${n}` } }],
})

/** Works for so many turns, whatever of them a request holds, and then reaches the goal. */
function longTask(turns: number, summary: () => Turn | Fault) {
  let done = 0
  const script: Script = (request) => {
    if (isCompaction(request)) return summary()
    done += 1
    if (done < turns) return quietChat(done)
    return done === turns ? { calls: [reachGoal] } : { text: 'It is done.' }
  }
  return script
}

/** @param room the most tokens of a request beside its tools */
async function runOf(script: Script, room: number) {
  let tools = 0
  const run = await played(script, config, ({ toolbox, models }) => {
    tools = tokensOfTools(toolbox.specs)
    return { models: { ...models, contextBudget: async () => tools + room } }
  })
  return { ...run, tools }
}

const compactionsIn = (records: readonly RunRecord[], outputsOnly?: true) =>
  payloadsOf(records, 'context_compacted').filter((one) => one.outputs_only === outputsOnly)

describe('a conversation that grows beyond the budget', () => {
  test('first loses old outputs, without a request to the model, and the model can read them again', async () => {
    let done = 0
    let left: string | undefined
    const script: Script = ({ messages }) => {
      done += 1
      const note = messages.find(({ content }) => content.includes('left out to make room'))
      const [, args] = /output_read (\{.*?\})/.exec(note?.content ?? '') ?? []
      if (args === undefined) return chat(done)
      if (left === undefined) {
        left = note?.content
        return { calls: [{ tool: 'output_read', args: JSON.parse(args) }] }
      }
      return done > 40 ? { text: 'It is done.' } : { calls: [reachGoal] }
    }
    // The tools take most of the window.
    const { records, requests, results, tools } = await runOf(script, 1_800)
    const [emptied] = compactionsIn(records, true)
    expect(emptied).toMatchObject({ outputs_only: true, summary: null, cost_usd: 0 })
    const { tokens_before = 0, tokens_after = 0 } = emptied ?? {}
    expect(tokens_after - tools).toBeLessThan(0.7 * (tokens_before - tools))
    expect(requests.some(isCompaction)).toBe(false)
    expect(left).toContain('This output of 1000 characters is left out to make room')
    const read = results.find(({ tool }) => tool === 'output_read')
    expect(read).toMatchObject({ outcome: 'ok', output: expect.stringMatching(/10{998}/) })
    // What came before the first output that was left out is still in the cache of the provider.
    const at = requests.findIndex((one) => one.messages.some(({ content }) => content === left))
    const before = requests[at - 1]
    const after = requests[at]
    expect(after?.messages.slice(0, 3)).toEqual(before?.messages.slice(0, 3))
  })

  test('is summarized by the model, seldom and in large parts, and the run continues from the summary', async () => {
    const script = longTask(60, () => ({ text: '# Done\nI printed zeros.' }))
    const { records, requests, tools, end } = await runOf(script, 5_800)
    expect(end.achieved).toBe(true)
    const compactions = compactionsIn(records)
    expect(compactions.length).toBeGreaterThan(1)
    expect(compactions.length).toBeLessThan(8)
    for (const compaction of compactions) {
      expect(compaction).toMatchObject({
        summary: '# Done\nI printed zeros.',
        model_name: 'scripted',
        cost_usd: null,
      })
      const { tokens_before, tokens_after } = compaction
      expect(tokens_after - tools).toBeLessThan((tokens_before - tools) / 2)
    }
    const asked = requests.findIndex(isCompaction)
    const before = requests[asked - 1]
    const after = requests[asked + 1]
    expect(JSON.stringify(requests[asked]?.messages)).toContain(
      JSON.stringify(before?.messages.slice(1)).slice(1, -1),
    )
    expect(after?.messages[2]?.content).toContain('I printed zeros.')
    expect(after?.messages.length).toBeLessThan((before?.messages.length ?? 0) / 2)
    const usage = payloadsOf(records, 'llm_usage')
    expect(usage.filter(({ purpose }) => purpose === 'compaction')).toHaveLength(compactions.length)
  })

  test('is left out without a summary if the model cannot write one, which is recorded', async () => {
    const script = longTask(20, () => ({ status: 500 }))
    const { records, requests, end } = await runOf(script, 4_000)
    expect(end.achieved).toBe(true)
    const [first] = compactionsIn(records)
    expect(first).toMatchObject({ summary: null, failure: expect.stringContaining('500') })
    const asked = requests.findIndex(isCompaction)
    expect(requests[asked + 1]?.messages[2]?.content).toContain('There is no summary')
  })

  test('is summarized as soon as a model that is away is back', async () => {
    let asked = 0
    const script = longTask(20, () => {
      asked += 1
      return asked < 8 ? { status: 503 } : { text: 'I looked.' }
    })
    const { records } = await runOf(script, 4_000)
    expect(compactionsIn(records)[0]).toMatchObject({ summary: 'I looked.' })
    expect(payloadsOf(records, 'llm_retry')).toHaveLength(7)
  })

  test('is left out without a summary if the model answers with a call, and the call is not run', async () => {
    const script = longTask(20, () => ({ calls: [reachGoal] }))
    const { records } = await runOf(script, 4_000)
    expect(compactionsIn(records)[0]).toMatchObject({ failure: 'The model wrote no text' })
    const commands = payloadsOf(records, 'tool_call').map(({ args }) => args.command)
    expect(commands.filter((command) => command === 'touch done')).toHaveLength(1)
  })

  test('is summarized again if a part of it is redacted meanwhile', async () => {
    const began = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    let asked = 0
    const script: Script = async (request) => {
      if (!isCompaction(request)) return quietChat(request.turn)
      asked += 1
      if (asked > 1) return { text: 'Without it.' }
      began.resolve()
      await held.promise
      return { text: 'With the secret.' }
    }
    await using shop = await Workshop.open(script)
    const models = { ...shop.models, contextBudget: async () => 4_000 }
    const agent = shop.startAgent({ effects: { models } })
    const runId = await shop.create(config)
    await began.promise
    agent.forget(runId)
    held.resolve()
    const records = await shop.until(runId, 'context_compacted')
    expect(only(records, 'context_compacted').payload.summary).toBe('Without it.')
    expect(JSON.stringify(records)).not.toContain('With the secret.')
    const paid = payloadsOf(records, 'llm_usage').map(({ purpose }) => purpose)
    expect(paid.filter((purpose) => purpose === 'compaction')).toHaveLength(asked)
  })
})

describe('a run that ends without its goal', () => {
  const idle = (request: ScriptedRequest): Turn =>
    isSummary(request) ? { text: 'I looked around.' } : chat(request.turn)
  const limited = { max_turns_per_iteration: 2, max_iterations: 1 }

  test('has a summary by its model, and a call in that reply is not run', async () => {
    const { records, requests, end } = await played(idle, limited)
    const summary = { text: 'I looked around.', source: 'model' }
    expect(only(records, 'run_summary').payload).toEqual(summary)
    expect(end.reason).toContain('max_iterations')
    expect(requests).toHaveLength(3)
    expect(requests[2]?.messages.at(-1)?.content).toContain('max_iterations')
  })

  test('has a summary from the log if a limit leaves no room for another request', async () => {
    const { records, requests } = await played(idle, { ...limited, max_tokens: 1 })
    expect(requests).toHaveLength(1)
    const { source, text } = only(records, 'run_summary').payload
    expect([source, text]).toEqual(['log', expect.stringContaining('1 iteration, ')])
  })

  test('has a summary from the log if the model cannot write one, with the reason', async () => {
    const { records } = await played(
      (request) => (isSummary(request) ? { status: 500 } : chat(request.turn)),
      limited,
    )
    expect(only(records, 'run_summary').payload).toMatchObject({
      source: 'log',
      failure: expect.stringContaining('500'),
    })
  })

  test('is summarized after a crash in the middle of its summary', async () => {
    const began = Promise.withResolvers<void>()
    let asked = 0
    await using shop = await Workshop.open((request) => {
      if (!isSummary(request)) return chat(request.turn)
      began.resolve()
      asked += 1
      return asked === 1 ? { fault: 'hang' } : { text: 'I looked around.' }
    })
    const records = await shop.restarted(() => began.promise, limited)
    expect(only(records, 'run_summary').payload.text).toBe('I looked around.')
  })
})
