import { INSTRUCTIONS_GOAL } from '../../domain/subagents.ts'
import type { Goal } from './goal.ts'
import { oneLine } from './text.ts'

const REASON_CHARACTERS = 200

/** Done when the agent reports that it is done: for work that no command can check. */
export const instructionsGoal: Goal = {
  name: INSTRUCTIONS_GOAL,
  description: 'The agent has done what its instructions ask for, by its own word',
  prompt:
    'Do what the instructions ask for. Nothing but your word is checked: when everything is done, reply without tool ' +
    'calls, and report exactly what the instructions ask you to report.',
  detect: async () => null,
  check: async ({ lastWords = null }) => {
    if (lastWords === null) {
      const reason = 'The agent has not said that it is done'
      return { verdict: 'not_achieved', reason, details: '' }
    }
    const said = oneLine(lastWords, REASON_CHARACTERS)
    return { verdict: 'achieved', reason: `The agent says that it is done: ${said}`, details: '' }
  },
}
