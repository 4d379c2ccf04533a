import type { PayloadOf, RunRecord } from './records.ts'
import type { OpenCall } from './state.ts'

/** How a call ended, null while it has no result. */
type CallOutcome = PayloadOf<'tool_result'>['outcome'] | null

/** A call that was to change the file whose path it names. `seq` is that of its `tool_call`. */
type FileCall = { readonly seq: number; readonly tool: string; readonly outcome: CallOutcome }

export type TouchedFile = {
  /** As the model gave it: two spellings of one path are two entries. */
  readonly path: string
  /** `unknown`: a call has no result, or one that does not tell whether it took effect. */
  readonly changed: 'yes' | 'no' | 'unknown'
  readonly calls: readonly FileCall[]
}

/** A call that may have changed anything: what it did to which files is not recorded. */
export type OpaqueCall = {
  readonly seq: number
  readonly tool: string
  /** Its command, or else its arguments as JSON; the first 500 characters. */
  readonly command: string
  readonly outcome: CallOutcome
  readonly exit_code: number | null
}

/** Tools that change the one file that they name, and nothing else. */
const FILE_TOOLS: ReadonlySet<string> = new Set(['file_write', 'file_patch'])
const COMMAND_LENGTH = 500

type Call = {
  readonly seq: number
  readonly call: OpenCall
  result: PayloadOf<'tool_result'> | null
}

/** Collects from consecutive records of a run what its tools may have changed. */
export class Touched {
  readonly #calls: Call[] = []
  #open: Call | null

  /** @param open the call that was under way before the first record, with its seq */
  constructor(open: { readonly seq: number; readonly call: OpenCall } | null = null) {
    this.#open = open === null ? null : { ...open, result: null }
    if (this.#open !== null) this.#keep(this.#open)
  }

  add(seq: number, { kind, payload }: RunRecord): void {
    if (kind === 'tool_call') {
      this.#open = { seq, call: payload, result: null }
      this.#keep(this.#open)
    } else if (kind === 'tool_result' && this.#open?.call.call_id === payload.call_id) {
      this.#open.result = payload
      this.#open = null
    }
  }

  /** In the order in which they were touched first. */
  files(): TouchedFile[] {
    const byPath = new Map<string, FileCall[]>()
    for (const { seq, call, result } of this.#calls) {
      const path = pathOf(call)
      if (path === null) continue
      const calls = byPath.get(path) ?? []
      byPath.set(path, calls)
      calls.push({ seq, tool: call.tool, outcome: result?.outcome ?? null })
    }
    return [...byPath].map(([path, calls]) => ({ path, changed: changedBy(calls), calls }))
  }

  commands(): OpaqueCall[] {
    return this.#calls
      .filter(({ call }) => pathOf(call) === null)
      .map(({ seq, call, result }) => ({
        seq,
        tool: call.tool,
        command: commandOf(call),
        outcome: result?.outcome ?? null,
        exit_code: result?.exit_code ?? null,
      }))
  }

  #keep(call: Call): void {
    if (!call.call.read_only) this.#calls.push(call)
  }
}

function pathOf({ tool, args }: OpenCall): string | null {
  return FILE_TOOLS.has(tool) && typeof args.path === 'string' ? args.path : null
}

function commandOf({ args, raw_args }: OpenCall): string {
  const text = typeof args.command === 'string' ? args.command : (raw_args ?? JSON.stringify(args))
  return text.slice(0, COMMAND_LENGTH).toWellFormed()
}

/** A call that was rejected or reports an error has left the file as it was. */
function changedBy(calls: readonly FileCall[]): TouchedFile['changed'] {
  if (calls.some(({ outcome }) => outcome === 'ok')) return 'yes'
  return calls.every(({ outcome }) => outcome === 'error' || outcome === 'rejected')
    ? 'no'
    : 'unknown'
}
