import { fileURLToPath } from 'node:url'
import type { Fault, Script, ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'
import { leaves } from './ledger.ts'

/** A run as a person requests it, and what the model says in it. */
export type Plan = {
  readonly name: string
  readonly body: Readonly<Record<string, unknown>>
  /** What the person changes before the answer to the first human check, or at a pause. */
  readonly changes?: Readonly<Record<string, unknown>>
  /** Whether human checks are answered; otherwise the run waits. */
  readonly answers: boolean
  readonly script: (request: ScriptedRequest) => Turn | Fault
}

type Reply = Plan['script']

/** A person who answers, and a run of some iterations, if nothing else is said. */
const plan = (name: string, script: Reply, more: Partial<Plan> = {}): Plan => {
  return { name, body: { max_iterations: 5 }, answers: true, script, ...more }
}

const bash = (command: string) => ({ tool: 'bash_exec', args: { command } })
const read = (path: string) => ({ tool: 'file_read', args: { path } })

/** The second turn reaches the goal, and the third reports that the work is done. A call that was lost is repeated. */
const finish = (turn: number): Turn =>
  turn % 2 === 1 ? { calls: [bash(leaves(`${turn}.0`, 'touch done'))] } : { text: 'It is done.' }

/** A model that makes these calls in its first turn, and then reaches the goal. */
const beginsWith =
  (...calls: NonNullable<Turn['calls']>): Reply =>
  ({ turn }) =>
    turn === 0 ? { calls } : finish(turn)

/** A model that makes this call, and then says that it is done. */
const onlyCalls =
  (command: string): Reply =>
  ({ turn }) =>
    turn === 0 ? { calls: [bash(command)] } : { text: 'It is done.' }

/** Two calls that change something in one turn, then one that reaches the goal. */
export const writer = plan('writer', beginsWith(bash(leaves('0.0')), bash(leaves('0.1'))))

/** A model that fails once, calls that only read, and a model that refuses, which is an error. */
export const reader = plan('reader', ({ turn }) =>
  turn === 0
    ? { first: [{ status: 503 }], calls: [read('.retrai.yml'), read('.retrai.yml')] }
    : { status: 401 },
)

/** A call that leaves a hook of git. */
const LEAVES_A_HOOK = 'mkdir -p .git/hooks; echo true >.git/hooks/pre-commit'

/** A person who is asked, changes the limits of the run, and approves. A call that was lost is repeated. */
export const asked = plan(
  'asked',
  ({ turn }) =>
    turn % 2 === 1
      ? { calls: [bash(leaves(`${turn}.0`, `touch done; ${LEAVES_A_HOOK}`))] }
      : { text: turn === 0 ? 'I have a question.' : 'It is done.' },
  { body: { max_iterations: 3, hitl_enabled: true }, changes: { max_iterations: 4 } },
)

/** A person who raises the limit that has paused the run. */
export const pausing = plan(
  'pausing',
  ({ turn }) => (turn === 0 ? { text: 'It is not done yet.' } : finish(turn)),
  { body: { max_iterations: 1, on_limit: 'pause' }, changes: { max_iterations: 4 } },
)

/** A person who does not answer. */
export const waiting = plan('waiting', () => ({ text: 'I have a question.' }), {
  body: { max_iterations: 3, hitl_enabled: true },
  answers: false,
})

const WORKFLOWS = '.github/workflows'

/**
 * A model that reaches the goal, adds a test and a workflow, which is protected, and has a check that it does not see. So its verdict is made
 * in three copies of the project: without the test, with it, and for the hidden check.
 */
export const judged = plan(
  'judged',
  onlyCalls(leaves('0.0', `mkdir -p tests ${WORKFLOWS}; touch done tests/a ${WORKFLOWS}/a.yml`)),
  {
    body: {
      max_iterations: 2,
      accept: { files: { 'more.sh': 'test -f done' }, command: 'sh more.sh' },
    },
  },
)

/** A model that makes no progress. */
export const stuck = plan('stuck', () => ({ calls: [read('.retrai.yml')] }), {
  body: { max_iterations: 3 },
})

/** A person who allows each command. */
export const guarded = plan('guarded', beginsWith(bash(leaves('0.0')), read('.retrai.yml')), {
  body: { max_iterations: 5, approvals: [{ tool: 'bash_exec', action: 'ask' }] },
})

const SUMMARY = 'Much was tried.'

/**
 * A model whose calls are so large that its conversation is summarized, and that then reaches the goal. Large outputs would be
 * left out without a summary.
 */
export const talkative = plan('talkative', ({ turn, messages }) => {
  if (isAside(messages)) return { text: SUMMARY }
  if (messages.some(({ content }) => content.includes(SUMMARY))) return finish(turn)
  return { calls: [bash(leaves(`${turn}.1`, `: ${'0'.repeat(8_000)}`))] }
})

/** Whether the model is asked for a summary, beside its work. */
export const isAside = (messages: ScriptedRequest['messages']): boolean =>
  messages.at(-1)?.content.includes('as text only') === true

const CONNECT = "printf 'CONNECT other.example:443 HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3"

/** A command that asks the proxy for a host that its run may not reach. */
export const connecting = plan(
  'connecting',
  onlyCalls(leaves('0.0', `touch done; exec 3<>/dev/tcp/127.0.0.1/3128; ${CONNECT}`)),
  { body: { max_iterations: 2, network: { allow: ['allowed.example'] } } },
)

/** A folder in the project of each plan, in which its sub-agents work. */
export const PART = 'part'

/** A model that lets sub-agents work in a part of the project, and then reaches the goal. */
const delegates =
  (ofPart: Reply, ...instructions: readonly string[]): Reply =>
  (request) => {
    if (request.conversation.includes(`/${PART}.`)) return ofPart(request)
    const calls = instructions.map((text) => {
      return { tool: 'run_subagent', args: { instructions: text, folder: PART } }
    })
    return beginsWith(...calls)(request)
  }

const PART_DONE = { text: 'The part is done.' }

/** One sub-agent, with two calls. */
export const delegating = plan(
  'delegating',
  delegates(
    ({ turn }) => (turn === 0 ? { calls: [bash(leaves('0.0')), bash(leaves('0.1'))] } : PART_DONE),
    'Do the part.',
  ),
)

/** Two sub-agents side by side. */
export const pairing = plan(
  'pairing',
  delegates(() => PART_DONE, 'Do half 0.', 'Do half 1.'),
)

const FIXTURE = fileURLToPath(new URL('../mcp/fixture-process.ts', import.meta.url))

/** A model that calls a tool of an MCP server, which notes the call in a file. */
export const calling = plan(
  'calling',
  beginsWith({ tool: 'mcp__fix__write', args: { word: 'it' } }),
  {
    body: {
      max_iterations: 5,
      mcp_servers: [{ name: 'fix', command: process.execPath, args: [FIXTURE, 'good'] }],
    },
  },
)

/** A command that kills the process that runs it, which is its parent if nothing isolates it. */
export const fatal = plan(
  'fatal',
  beginsWith(bash(leaves('0.0', '(setsid sleep 100 &); kill -9 $PPID; sleep 100'))),
)

/** A command that works until something ends it. */
export const endless = plan(
  'endless',
  beginsWith(bash(leaves('0.0', '(setsid sleep 1000 &); echo printed; sleep 1000'))),
)

/** Each has a name of its own. */
export const ALL_PLANS: readonly Plan[] = [
  writer,
  reader,
  asked,
  pausing,
  waiting,
  stuck,
  guarded,
  talkative,
  connecting,
  delegating,
  pairing,
  calling,
  fatal,
  endless,
  judged,
]

/** Whether a conversation is of a plan with this name: of its run, or of a sub-agent of that. */
const isOf = (name: string, conversation: string): boolean =>
  [`/${name}.`, `/${name}/${PART}.`].some((folder) => conversation.includes(folder))

/** The goal of all plans. */
export const GOAL = 'check_command: test -f done\n'

/** One script for all plans: a conversation begins with the folder, which has the name of its plan, or is inside such a folder. */
export function scriptOf(plans: readonly Plan[]): Script {
  return (request) => {
    const plan = plans.find(({ name }) => isOf(name, request.conversation))
    if (plan === undefined) throw new Error(`no plan has the conversation ${request.conversation}`)
    return plan.script(request)
  }
}
