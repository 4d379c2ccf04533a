import { splitCommand } from './approvals/split-command.ts'
import { MCP_PREFIX } from './mcp-tools.ts'
import type { PayloadOf, RequestedCall } from './records.ts'
import { stripTerminalCodes } from './terminal-codes.ts'

/** A call that had a result. */
export type DoneCall = RequestedCall & { readonly read_only: boolean }

/** The calls of a turn and their results, each as a number that equal ones share. */
export type Done = {
  readonly call: number
  /** Without numbers: a loop may print times, durations and process ids. */
  readonly output: number
  /** With numbers, but without times and durations. */
  readonly exact: number
}
export const NOTHING_DONE: Done = { call: 0, output: 0, exact: 0 }

/** A shorter call does not wait for something, so its numbers do not matter. */
const LONG_MS = 500

/** What a turn has done after one more call. */
export function doneBy(call: DoneCall, result: PayloadOf<'tool_result'>, before: Done): Done {
  const { outcome, exit_code, duration_ms } = result
  const asked = [call.tool, JSON.stringify(withoutComments(call.args)), call.raw_args ?? '']
  const printed = `${outcome} ${exit_code}\n${stripTerminalCodes(result.output)}`
  const output = digestOf(printed, before.output, true)
  return {
    call: asked.reduce((seed, text) => digestOf(text, seed), before.call),
    output,
    exact: duration_ms < LONG_MS ? output : digestOf(printed.replace(TIMES, ''), before.exact),
  }
}

/** Durations, times of day, dates, and seconds since the epoch. */
const TIMES =
  /\b\d[\d.,]*\s?(?:[mnµu]?s|secs?|seconds?|m|min|minutes?|h|hours?)\b|\d{4}-\d\d-\d\d|\d+(?::\d\d)+(?:[.,]\d+)?|\d{10,}/g

function withoutComments(args: DoneCall['args']): DoneCall['args'] {
  const { command } = args
  if (typeof command !== 'string') return args
  return {
    ...args,
    command: command
      .replace(/(^|\s)#[^\n]*/g, '')
      .replace(/\s+/g, ' ')
      .trim(),
  }
}

const EDITING_TOOLS: ReadonlySet<string> = new Set([
  ...['file_write', 'file_patch', 'apply_patch', 'file_rename', 'file_delete', 'run_subagent'],
  'process_input',
])
const WRITING: ReadonlySet<string> = new Set([
  ...['sed', 'perl', 'tee', 'patch', 'mv', 'cp', 'rm', 'mkdir', 'touch', 'ln', 'git'],
])
const READING: ReadonlySet<string> = new Set([
  ...['cd', 'ls', 'cat', 'head', 'tail', 'grep', 'rg', 'find', 'echo', 'printf', 'pwd', 'true'],
  ...['test', '[', 'sleep', 'which', 'wc', 'sort', 'date', 'env', 'export', 'set'],
])

/**
 * Whether a call may have changed files of the project. Nothing is recorded of what a command changed: as soon as there
 * is such a record, it answers here.
 */
export function mayEdit(call: DoneCall, { outcome }: PayloadOf<'tool_result'>): boolean {
  const mayAct = call.tool.startsWith(MCP_PREFIX) && !call.read_only
  if (mayAct || EDITING_TOOLS.has(call.tool)) return outcome === 'ok'
  const { command } = call.args
  if (call.tool !== 'bash_exec' || typeof command !== 'string') return false
  const commands = splitCommand(command)
  if ('doubt' in commands) return true
  // The last of several commands is often a check of what those before it have done.
  return commands.some(({ text: [first], doubt }, at) => {
    const program = first?.split(' ', 1)[0] ?? ''
    const mayWrite = at < commands.length - 1 ? !READING.has(program) : WRITING.has(program)
    return doubt !== null || mayWrite
  })
}

/** Digits, and `:`. */
const isDigit = (code: number): boolean => code >= 48 && code <= 58
/** Letters, and `.` or `,`. */
const continues = (code: number): boolean =>
  (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 46 || code === 44

/**
 * A number of 53 bits that equal texts share, and different ones hardly ever. Not for secrets.
 * @param skipsNumbers whether numbers do not count, with what follows them directly, such as their units
 */
function digestOf(text: string, seed: number, skipsNumbers = false): number {
  let low = seed ^ 0x811c9dc5
  let high = (seed / 0x1_0000_0000) ^ 0x41c6ce57
  let isNumber = false
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    isNumber = skipsNumbers && (isDigit(code) || (isNumber && continues(code)))
    if (isNumber) continue
    low = Math.imul(low ^ code, 0x01000193)
    high = Math.imul(high ^ code, 0x5bd1e995)
  }
  low ^= Math.imul(high ^ (high >>> 15), 0x2c1b3c6d)
  return (high & 0x1f_ffff) * 0x1_0000_0000 + (low >>> 0)
}
