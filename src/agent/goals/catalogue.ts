import type { Goal } from './goal.ts'
import { bunTest, npmTest } from './javascript.ts'
import { makeTest } from './make-test.ts'
import { pyright } from './pyright.ts'
import { pytest } from './pytest.ts'
import { cargoTest, goTest } from './rust-and-go.ts'
import { shellGoal } from './shell-goal.ts'

/** All goals that a run may name. */
export const goals: readonly Goal[] = [
  pytest,
  pyright,
  npmTest,
  bunTest,
  cargoTest,
  goTest,
  makeTest,
  shellGoal,
]

export function findGoal(name: string): Goal | undefined {
  return goals.find((goal) => goal.name === name)
}
