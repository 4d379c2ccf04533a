import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { payloadsOf, played, reachGoal } from '../support.ts'

/** The check counts how often it ran, in a file that the agent does not touch. */
const COUNTING: RunConfig['shell_goal'] = {
  check_command: 'echo x >> "$PWD.checks"; test -f done',
  success_condition: { exit_code: 0 },
}

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
  const config = { max_turns_per_iteration: 50, shell_goal: COUNTING }
  const { shop, records, end } = await played(longTask, config)
  expect(end).toMatchObject({ achieved: true, iterations: 2 })
  expect(payloadsOf(records, 'assistant_message')).toHaveLength(61)
  expect(await readFile(`${shop.project}.checks`, 'utf8')).toBe('x\n'.repeat(3))
})
