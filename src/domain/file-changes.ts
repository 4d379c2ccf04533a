import * as z from 'zod'
import { type PayloadOf, type RequestedCall, type RunRecord, ToolOutcome } from './records.ts'

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

/** Tools that change only the files that they name, and the arguments that name them. */
const FILE_TOOLS: ReadonlyMap<string, readonly string[]> = new Map([
  ['file_write', ['path']],
  ['file_patch', ['path']],
  ['file_delete', ['path']],
  ['file_rename', ['path', 'to']],
])
/** The lines of a patch that name files. */
const PATCHED_FILE = /^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+)$/gm

/** Collects from consecutive records of a run what its tools may have done to the files that their calls name. */
export class FileChanges {
  readonly #calls: { seq: number; call: PayloadOf<'tool_call'>; outcome: CallOutcome }[] = []

  add(seq: number, { kind, payload }: RunRecord): void {
    const last = this.#calls.at(-1)
    if (kind === 'tool_call' && !payload.read_only) {
      this.#calls.push({ seq, call: payload, outcome: null })
    } else if (kind === 'tool_result' && last?.call.call_id === payload.call_id) {
      last.outcome = payload.outcome
    }
  }

  /** In the order of their first call. */
  files(): ChangedFile[] {
    const named = this.#calls.flatMap(({ seq, call, outcome }) =>
      writtenFiles(call).map((path) => ({ path, call: { seq, tool: call.tool, outcome } })),
    )
    return [...Map.groupBy(named, ({ path }) => path)].map(([path, of]) => {
      const calls = of.map(({ call }) => call)
      return { path, changed: changedBy(calls), calls }
    })
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

const UNCHANGED: ReadonlySet<CallOutcome> = new Set(['error', 'rejected', 'denied', 'not_isolated'])

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
