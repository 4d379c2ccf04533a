import type { Goal } from '../../src/checks/goal.ts'

/** Costs nothing and is never reached, so that a run takes exactly its `max_iterations`. */
export const idleGoal: Goal = {
  name: 'idle',
  description: 'Never reached',
  prompt: 'There is nothing to reach. Read what you like.',
  detect: async () => null,
  check: async () => ({ verdict: 'not_achieved', reason: 'It never is', details: '' }),
}
