import type { Kind, RunRecord } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'

/**
 * The strings of each kind that people only read, by their pointers from the payload: `*` is any one name, `**` is
 * everything below. Only these can be redacted. Runs are found, folded and verified by all others.
 */
const FREE_TEXT: { readonly [K in Kind]: readonly string[] } = {
  run_created: [
    '/system_prompt',
    '/reason',
    '/instructions',
    '/config/cwd',
    '/project/path',
    '/config/shell_goal/**',
    '/config/goal_options/**',
    '/config/all_of/*/shell_goal/**',
    '/config/all_of/*/goal_options/**',
    '/isolation/visible/*',
    '/copy_of/path',
    '/taken_over/shell_folder',
  ],
  project_copied: ['/project/path', '/not_copied/*', '/not_restored/*'],
  run_paused: ['/reason'],
  run_resumed: ['/reason'],
  changes_applied: ['/files/*/path', '/not_carried/*', '/branch', '/reason'],
  files_rolled_back: ['/files/*/path', '/not_carried/*', '/reason'],
  copy_discarded: ['/reason'],
  run_claimed: ['/host'],
  run_queued: ['/reason'],
  run_config_changed: ['/reason'],
  step_start: [],
  llm_usage: [],
  project_context: ['/documents/*/text', '/files', '/git', '/programs', '/ignored_keys/*'],
  mcp_tools_listed: ['/tools/*/description', '/left_out/*/reason', '/problem'],
  user_message: ['/text'],
  llm_retry: ['/reason'],
  assistant_message: [
    '/text',
    '/tool_calls/*/args/**',
    '/tool_calls/*/raw_args',
    '/notice',
    '/provider_items/items/**',
  ],
  tool_call: ['/args/**', '/raw_args'],
  tool_result: ['/output', '/isolation/visible/*', '/folder'],
  subagent_started: ['/config/cwd', '/config/shell_goal/**'],
  goal_check: ['/reason', '/details', '/isolation/visible/*', '/tampering/*/path', '/vanished/*'],
  final_check: ['/reason', '/feedback', '/tampering/*/path', '/not_copied/*'],
  network_connection: ['/host', '/reason'],
  guard_changed: ['/path'],
  snapshot: ['/left_out/*/path', '/since_origin/files/*/path'],
  left_out_hashed: ['/entries/*/path'],
  iteration_complete: [],
  human_check_required: ['/summary'],
  human_check_response: ['/reason'],
  approval_required: ['/call_sha256', '/content/reason', '/doubt'],
  approval_response: ['/reason', '/call_sha256'],
  context_compacted: ['/summary', '/failure'],
  agent_stuck: [],
  error: ['/message', '/traceback'],
  run_ending: ['/reason'],
  run_summary: ['/text', '/failure'],
  run_end: ['/reason', '/verdict/tampering/*/path', '/verdict/not_copied/*'],
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

/** Whether the string at the pointer can be redacted in a record of this kind. */
export function isFreeText(kind: Kind, pointer: string): boolean {
  return PATTERNS.get(kind)?.some((pattern) => pattern.test(pointer)) ?? false
}

/** Why the run still needs the free text of a record, as a sentence for people; null if it does not. */
export function neededFor(record: RunRecord, { phase }: RunState): string | null {
  if (phase.type === 'ended') return null
  if (record.kind === 'run_created') {
    return 'The run still uses the text that it was created with: wait until it has ended, or abort it.'
  }
  const calls = callsOf(record)
  if (!stillToDo(phase).some(({ call_id }) => calls.has(call_id))) return null
  return 'The run has not finished a tool call with these arguments: wait for its result, or abort the run.'
}

function callsOf({ kind, payload }: RunRecord): ReadonlySet<string> {
  if (kind === 'tool_call' || kind === 'subagent_started') return new Set([payload.call_id])
  if (kind !== 'assistant_message') return new Set()
  return new Set(payload.tool_calls.map(({ call_id }) => call_id))
}

function stillToDo(phase: RunState['phase']): readonly { readonly call_id: string }[] {
  if (phase.type === 'replied') return phase.calls
  if (phase.type === 'awaiting_approval') return phase.pending
  if ('interrupted' in phase) return stillToDo(phase.interrupted)
  if (phase.type !== 'acting') return []
  return phase.open === null ? phase.pending : [phase.open, ...phase.pending]
}
