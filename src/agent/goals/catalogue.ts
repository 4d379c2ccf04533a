import { allOf } from './all-of.ts'
import { apiTest } from './api-test.ts'
import { coverage } from './coverage.ts'
import type { Goal } from './goal.ts'
import { instructionsGoal } from './instructions.ts'
import { bunTest, npmTest } from './javascript.ts'
import { lint } from './lint.ts'
import { makeTest } from './make-test.ts'
import { perfCheck } from './perf-check.ts'
import { pyright } from './pyright.ts'
import { pytest } from './pytest.ts'
import { cargoTest, goTest } from './rust-and-go.ts'
import { shellGoal, withConditions } from './shell-goal.ts'

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
