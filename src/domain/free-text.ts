import type { Kind, RunRecord } from './records.ts'
import type { RunState } from './state.ts'

/**
 * The strings of each kind that are there to be read and for nothing else, by their pointers from the
 * payload: `*` is any one name, `**` all that is below. Only they can be taken out of a record. All
 * others are what runs are found, folded and verified by.
 */
const FREE_TEXT: { readonly [K in Kind]: readonly string[] } = {
  run_created: ['/system_prompt', '/reason', '/config/cwd', '/config/shell_goal/**'],
  run_claimed: ['/host'],
  run_config_changed: ['/reason'],
  step_start: [],
  llm_usage: [],
  llm_retry: ['/reason'],
  assistant_message: ['/text', '/tool_calls/*/args/**', '/tool_calls/*/raw_args'],
  tool_call: ['/args/**', '/raw_args'],
  tool_result: ['/output'],
  goal_check: ['/reason', '/details'],
  iteration_complete: [],
  human_check_required: ['/summary'],
  human_check_response: ['/reason'],
  error: ['/message', '/traceback'],
  run_end: ['/reason'],
}

const PATTERNS = new Map(
  Object.entries(FREE_TEXT).map(([kind, pointers]) => [kind, pointers.map(toPattern)]),
)

function toPattern(pointer: string): RegExp {
  const parts = pointer.split('/').map((name) => {
    if (name === '**') return '.+'
    return name === '*' ? '[^/]+' : name
  })
  return new RegExp(`^${parts.join('/')}$`, 's')
}

/** Whether the string at the pointer can be taken out of a record of this kind. */
export function isFreeText(kind: Kind, pointer: string): boolean {
  return PATTERNS.get(kind)?.some((pattern) => pattern.test(pointer)) ?? false
}

/**
 * Why the run cannot do without the free text of a record yet, as a sentence; null where it can. What a
 * run has still to act on is not taken from under its hands.
 */
export function neededFor(record: RunRecord, { phase }: RunState): string | null {
  if (phase.type === 'ended') return null
  if (record.kind === 'run_created') {
    return 'The run works by what it was created with: wait until it has ended, or abort it.'
  }
  const calls = callsOf(record)
  if (!stillToDo(phase).some(({ call_id }) => calls.has(call_id))) return null
  return 'The run has yet to finish a tool call with these arguments: wait for its result, or abort the run.'
}

function callsOf({ kind, payload }: RunRecord): ReadonlySet<string> {
  if (kind === 'tool_call') return new Set([payload.call_id])
  if (kind !== 'assistant_message') return new Set()
  return new Set(payload.tool_calls.map(({ call_id }) => call_id))
}

function stillToDo(phase: RunState['phase']): readonly { readonly call_id: string }[] {
  if (phase.type === 'replied') return phase.calls
  if (phase.type !== 'acting') return []
  return phase.open === null ? phase.pending : [phase.open, ...phase.pending]
}
