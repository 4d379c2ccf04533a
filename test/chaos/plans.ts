import type { Fault, Script, ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'
import { leaves } from './ledger.ts'

/** A run as a person wants it, and what the model says in it. */
export type Plan = {
  readonly name: string
  readonly body: Readonly<Record<string, unknown>>
  /** What the person changes before the answer to the first human check. */
  readonly changes?: Readonly<Record<string, unknown>>
  /** Whether human checks are answered; otherwise the run waits. */
  readonly answers: boolean
  readonly script: (request: ScriptedRequest) => Turn | Fault
}

const bash = (command: string) => ({ tool: 'bash_exec', args: { command } })
const read = (path: string) => ({ tool: 'file_read', args: { path } })

/** The second turn reaches the goal, and the third reports that the work is done. */
const finish = (turn: number): Turn =>
  turn === 1 ? { calls: [bash(leaves('1.0', 'touch done'))] } : { text: 'It is done.' }

/** Two calls that change something in one turn, then one that reaches the goal. */
export const writer: Plan = {
  name: 'writer',
  body: { max_iterations: 5 },
  answers: true,
  script: ({ turn }) =>
    turn === 0 ? { calls: [bash(leaves('0.0')), bash(leaves('0.1'))] } : finish(turn),
}

/** A model that fails once, calls that only read, and a model that refuses, which is an error. */
export const reader: Plan = {
  name: 'reader',
  body: { max_iterations: 5 },
  answers: true,
  script: ({ turn }) =>
    turn === 0
      ? { first: [{ status: 503 }], calls: [read('.retrai.yml'), read('.retrai.yml')] }
      : { status: 401 },
}

/** A person who is asked, changes the limits of the run, and approves. */
export const asked: Plan = {
  name: 'asked',
  body: { max_iterations: 3, hitl_enabled: true },
  changes: { max_iterations: 4 },
  answers: true,
  script: ({ turn }) => (turn === 0 ? { text: 'I have a question.' } : finish(turn)),
}

/** A person who does not answer. */
export const waiting: Plan = {
  name: 'waiting',
  body: { max_iterations: 3, hitl_enabled: true },
  answers: false,
  script: () => ({ text: 'I have a question.' }),
}

/** The goal of all plans. */
export const GOAL = 'check_command: test -f done\n'

/** One script for all plans: a conversation begins with the folder, which has the name of its plan. */
export function scriptOf(plans: readonly Plan[]): Script {
  return (request) => {
    const plan = plans.find(({ name }) => request.conversation.includes(`/${name}.`))
    if (plan === undefined) throw new Error(`no plan has the conversation ${request.conversation}`)
    return plan.script(request)
  }
}
