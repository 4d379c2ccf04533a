import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { only, reachGoal, Workshop } from '../support.ts'

/** The check counts how often it ran, in a file that the agent does not touch. */
const COUNTING: RunConfig['shell_goal'] = {
  check_command: 'echo x >> "$PWD.checks"; test -f done',
  success_condition: { exit_code: 0 },
}
const config = { max_turns_per_iteration: 50, shell_goal: COUNTING }
const checksOf = async (shop: Workshop): Promise<number> =>
  (await readFile(`${shop.project}.checks`, 'utf8')).length / 2

/** A task of 60 turns: it looks 19 times, changes something, and repeats that. It reports once too early that it is done. */
const longTask: Script = ({ turn }) => {
  if (turn === 30) return { text: 'I think that is all.' }
  if (turn >= 60) return { text: 'Now it is done.' }
  if (turn === 59) return { calls: [reachGoal] }
  return turn % 20 === 19
    ? { calls: [{ tool: 'file_write', args: { path: `step-${turn}`, content: 'a step' } }] }
    : { calls: [{ tool: 'grep_search', args: { pattern: `function ${turn}` } }] }
}

test('60 turns with a slow check are solved with at most five checks', async () => {
  await using shop = await Workshop.open(longTask)
  const records = await shop.play(config)
  expect(only(records, 'run_end').payload).toMatchObject({ achieved: true, iterations: 2 })
  expect(records.filter(({ kind }) => kind === 'assistant_message')).toHaveLength(61)
  expect(await checksOf(shop)).toBe(3)
})

test('a project that is green already costs no token, and no model is asked', async () => {
  await using shop = await Workshop.open([])
  await shop.file('done', '')
  const records = await shop.play(config)
  expect(only(records, 'run_end').payload).toMatchObject({ achieved: true, total_tokens: 0 })
  expect(shop.requests).toHaveLength(0)
})

test('a goal that cannot be checked ends the run before a model is asked', async () => {
  await using shop = await Workshop.open([])
  const records = await shop.play({ ...config, goal: 'npm-test', shell_goal: null })
  expect(only(records, 'goal_check').payload.verdict).toBe('cannot_check')
  expect(only(records, 'run_end').payload.reason).toMatch(/cannot be checked: .*no test script/)
  expect(shop.requests).toHaveLength(0)
})

test('after turns that only read there is no check, and the model reads that nothing has changed', async () => {
  await using shop = await Workshop.open(({ turn }) =>
    turn % 2 === 0
      ? { calls: [{ tool: 'file_list', args: {} }] }
      : { text: `Done, I say ${turn}.` },
  )
  const records = await shop.play({ ...config, max_iterations: 2 })
  expect(records.filter(({ kind }) => kind === 'goal_check')).toHaveLength(1)
  expect(await checksOf(shop)).toBe(1)
  expect(shop.requests.at(2)?.messages.at(-1)?.content).toContain('nothing has changed')
})

test('after a crash between two turns, the run continues with the next turn', async () => {
  const script: Script = [
    { calls: [{ tool: 'file_write', args: { path: 'a', content: 'a' } }] },
    { calls: [{ tool: 'file_write', args: { path: 'b', content: 'b' } }], delayMs: 200 },
    { calls: [reachGoal] },
  ]
  await using shop = await Workshop.open(script)
  const first = shop.startAgent()
  const runId = await shop.create(config)
  await shop.until(runId, 'tool_result')
  await first.stop()
  shop.startAgent({ unfinished: [runId] })
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.achieved).toBe(true)
  expect(await readFile(join(shop.project, 'b'), 'utf8')).toBe('b')
  const calls = records.flatMap((r) => (r.kind === 'tool_call' ? [r.payload.args.path] : []))
  expect(calls).toEqual(['a', 'b', undefined])
})
