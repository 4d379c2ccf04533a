import * as z from 'zod'
import { type PayloadOf, type RequestedCall, type RunRecord, ToolOutcome } from './records.ts'

type OpenCall = PayloadOf<'tool_call'>

const seq = z.int()
const outcome = ToolOutcome.nullable().describe('Null while the call has no result')
type CallOutcome = z.infer<typeof outcome>

/** A file, and the calls of tools that change the file whose path they name. `seq` is that of the `tool_call`. */
export const ChangedFile = z.object({
  /** Two spellings of one path are two entries. */
  path: z.string().describe('As the model gave it'),
  /** `unknown`: a call has no result, or its result leaves open whether it took effect. */
  changed: z.enum(['yes', 'no', 'unknown']),
  calls: z.array(z.object({ seq, tool: z.string(), outcome })).readonly(),
})
type ChangedFile = z.infer<typeof ChangedFile>
type FileCall = ChangedFile['calls'][number]

/** A call that may have changed any file: the log does not record which. */
export const OpaqueCall = z.object({
  seq,
  tool: z.string(),
  /** Its command, or its arguments as JSON. */
  command: z.string().describe('Its first 500 characters; the record has all of it'),
  outcome,
  exit_code: z.int().nullable(),
})
type OpaqueCall = z.infer<typeof OpaqueCall>

/** Tools that change only the files that they name, and the arguments that name them. */
const FILE_TOOLS: ReadonlyMap<string, readonly string[]> = new Map([
  ['file_write', ['path']],
  ['file_patch', ['path']],
  ['file_delete', ['path']],
  ['file_rename', ['path', 'to']],
])
/** The lines of a patch that name files. */
const PATCHED_FILE = /^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+)$/gm
const COMMAND_CHARS = 500

type Call = {
  readonly seq: number
  readonly call: OpenCall
  result: PayloadOf<'tool_result'> | null
}

/** Collects from consecutive records of a run what its tools may have changed. */
export class FileChanges {
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

  /** In the order of their first call. */
  files(): ChangedFile[] {
    const byPath = new Map<string, FileCall[]>()
    for (const { seq, call, result } of this.#calls) {
      for (const path of writtenFiles(call)) {
        const calls = byPath.get(path) ?? []
        byPath.set(path, calls)
        calls.push({ seq, tool: call.tool, outcome: result?.outcome ?? null })
      }
    }
    return [...byPath].map(([path, calls]) => ({ path, changed: changedBy(calls), calls }))
  }

  commands(): OpaqueCall[] {
    return this.#calls
      .filter(({ call }) => writtenFiles(call).length === 0)
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

/** The files that a call writes, renames or deletes, as the model named them; none if the call does not name them all. */
export function writtenFiles({ tool, args }: RequestedCall): readonly string[] {
  if (tool === 'apply_patch' && typeof args.input === 'string') {
    return [...new Set(args.input.matchAll(PATCHED_FILE).map(([, path = '']) => path.trim()))]
  }
  const paths = (FILE_TOOLS.get(tool) ?? []).map((name) => args[name])
  return paths.every((path) => typeof path === 'string') ? paths : []
}

function commandOf({ args, raw_args }: OpenCall): string {
  const text = typeof args.command === 'string' ? args.command : (raw_args ?? JSON.stringify(args))
  return text.slice(0, COMMAND_CHARS).toWellFormed()
}

const UNCHANGED: ReadonlySet<CallOutcome> = new Set([
  ...(['error', 'rejected', 'denied', 'not_isolated'] as const),
])

/** A call that was rejected or reports an error has not changed the file. */
function changedBy(calls: readonly Pick<FileCall, 'outcome'>[]): ChangedFile['changed'] {
  if (calls.some(({ outcome }) => outcome === 'ok')) return 'yes'
  return calls.every(({ outcome }) => UNCHANGED.has(outcome)) ? 'no' : 'unknown'
}

const SHOWN = 3

/** What a check says about itself, for people: which protected files are not what they were, and which tests are gone. */
export function changesOfCheck({
  tampering = [],
  vanished = [],
}: Pick<PayloadOf<'goal_check'>, 'tampering' | 'vanished'>): string[] {
  const list = (items: readonly string[]): string => {
    const more = items.length > SHOWN ? ` and ${items.length - SHOWN} more` : ''
    return `${items.slice(0, SHOWN).join(', ')}${more}`
  }
  const files = tampering.map(({ path, change }) => `${path} (${change})`)
  return [
    files.length === 0 ? '' : `changed since the run began: ${list(files)}`,
    vanished.length === 0 ? '' : `tests that no longer run: ${list(vanished)}`,
  ].filter(Boolean)
}
