import type { Kind, RunRecord } from '../../domain/records.ts'
import { stripTerminalCodes } from '../../domain/texts.ts'

/**
 * What is searched of each kind, by names in its payload: all strings below them. It is what people and models said, what
 * was called and printed (the head and the tail of a long output), which files changed, reasons and errors. What many
 * records repeat is left out: system prompts, the documents of projects, the calls of a reply (each has a record).
 */
const SEARCHED: { readonly [K in Kind]?: readonly string[] } = {
  run_created: ['instructions', 'reason'],
  user_message: ['text'],
  assistant_message: ['text', 'notice'],
  tool_call: ['tool', 'args', 'raw_args'],
  tool_result: ['output'],
  goal_check: ['reason', 'details', 'tampering', 'vanished'],
  final_check: ['reason', 'feedback', 'tampering'],
  snapshot: ['since_origin'],
  guard_changed: ['path'],
  changes_applied: ['files', 'branch', 'reason'],
  files_rolled_back: ['files', 'reason'],
  copy_discarded: ['reason'],
  network_connection: ['host', 'reason'],
  mcp_tools_listed: ['problem'],
  human_check_required: ['summary'],
  human_check_response: ['reason'],
  approval_required: ['content', 'doubt'],
  approval_response: ['reason'],
  context_compacted: ['summary', 'failure'],
  llm_retry: ['reason'],
  agent_stuck: ['message'],
  run_queued: ['reason'],
  run_paused: ['reason'],
  run_resumed: ['reason'],
  run_config_changed: ['reason'],
  error: ['message', 'traceback'],
  run_summary: ['text', 'failure'],
  run_end: ['reason'],
}

export const SEARCHED_KINDS = Object.keys(SEARCHED) as readonly Kind[]

/** Lists of files, of which only the paths are searched. */
const FILES: ReadonlySet<string> = new Set(['files', 'tampering', 'since_origin'])

/** The text of a record that is searched, without what controls a terminal; empty for a kind that is not searched. */
export function searchedText({ kind, payload }: RunRecord): string {
  const names = SEARCHED[kind] ?? []
  const parts = names.flatMap((name) => stringsIn(Reflect.get(payload, name), !FILES.has(name)))
  return parts.map(stripTerminalCodes).join('\n')
}

function stringsIn(value: unknown, isWanted: boolean): string[] {
  if (typeof value === 'string') return isWanted ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, each]) =>
    stringsIn(each, isWanted || name === 'path'),
  )
}
