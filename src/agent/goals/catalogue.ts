import { INSTRUCTIONS_GOAL } from '../../domain/subagents.ts'
import { allOf } from './all-of.ts'
import { apiTest } from './api-test.ts'
import { coverage } from './coverage.ts'
import type { Goal } from './goal.ts'
import { lint } from './lint.ts'
import { perfCheck } from './perf-check.ts'
import { bunTest, makeTest, npmTest } from './project-scripts.ts'
import { pyright, pytest } from './python.ts'
import { cargoTest, goTest } from './rust-and-go.ts'
import { shellGoal, withConditions } from './shell-goal.ts'
import { oneLine } from './text.ts'

const REASON_CHARACTERS = 200

/** Done when the agent reports that it is done: for work that no command can check. */
const instructionsGoal: Goal = {
  name: INSTRUCTIONS_GOAL,
  description: 'The agent has done what its instructions ask for, by its own word',
  prompt:
    'Do what the instructions ask for. Nothing but your word is checked: when everything is done, reply without tool ' +
    'calls, and report exactly what the instructions ask you to report.',
  check: async ({ lastWords = null }) => {
    if (lastWords === null) {
      const reason = 'The agent has not said that it is done'
      return { verdict: 'not_achieved', reason, details: '' }
    }
    const said = oneLine(lastWords, REASON_CHARACTERS)
    return { verdict: 'achieved', reason: `The agent says that it is done: ${said}`, details: '' }
  },
}

/** The goals that judge what their tool prints or reports. */
const tools = [
  pytest,
  pyright,
  npmTest,
  bunTest,
  cargoTest,
  goTest,
  makeTest,
  lint,
  perfCheck,
  coverage,
  apiTest,
]
const single: readonly Goal[] = [...tools.map(withConditions), shellGoal]

/** All goals that a run may name. */
export const goals: readonly Goal[] = [...single, allOf(single), instructionsGoal]

export function findGoal(name: string): Goal | undefined {
  return goals.find((goal) => goal.name === name)
}
