import { type StructuredPatchHunk, structuredPatch } from 'diff'
import type { TreeChange } from './compare-trees.ts'

export type FileDiff = {
  readonly change: TreeChange
  /** The number of lines; 0 for a binary file. */
  readonly additions: number
  readonly deletions: number
  /**
   * It has a NUL byte where git looks for one, or more lines than a hunk should hold. False if the content is the same,
   * since nobody looks.
   */
  readonly binary: boolean
  /** Of latin1 characters, with up to three lines around each change. Empty for a binary file, and if the content is the same. */
  readonly hunks: readonly StructuredPatchHunk[]
  /** Both contents, each null if there is no such file; null if the content is the same. */
  readonly contents: { readonly old: Buffer | null; readonly new: Buffer | null } | null
}

/** Gives the content of a file, or null if it was not kept. */
export type ReadBlob = (id: string) => Promise<Buffer | null>

/** What changed within a file; null if one of its contents was not kept. */
export async function diffFile(change: TreeChange, readBlob: ReadBlob): Promise<FileDiff | null> {
  const none = { change, additions: 0, deletions: 0, binary: false, hunks: [] }
  if (change.old?.id === change.new?.id) return { ...none, contents: null }
  const old = change.old === null ? null : await readBlob(change.old.id)
  const fresh = change.new === null ? null : await readBlob(change.new.id)
  if ((change.old !== null && old === null) || (change.new !== null && fresh === null)) return null
  const contents = { old, new: fresh }
  if (isBinary(old) || isBinary(fresh)) return { ...none, binary: true, contents }
  const hunks = hunksBetween(old?.toString('latin1') ?? '', fresh?.toString('latin1') ?? '')
  const count = (sign: '+' | '-'): number =>
    hunks.reduce((sum, { lines }) => sum + lines.filter((line) => line[0] === sign).length, 0)
  return { ...none, additions: count('+'), deletions: count('-'), hunks, contents }
}

/** As many bytes as git looks at. */
const LOOKED_AT_BYTES = 8000
/** Five million empty lines take seconds and hundreds of megabytes as lines, and five megabytes as bytes. */
const MAX_LINES = 200_000

function isBinary(content: Buffer | null): boolean {
  if (content === null) return false
  if (content.subarray(0, LOOKED_AT_BYTES).includes(0)) return true
  let lines = 0
  if (content.length > MAX_LINES) for (const byte of content) if (byte === 0x0a) lines += 1
  return lines > MAX_LINES
}

/** Lines around a change. */
const CONTEXT = 3
/** Comparing takes at most about as many steps as lines times edits, and memory for the square of the edits. */
const MAX_STEPS = 200_000_000
const MAX_EDITS = 1000

/**
 * What differs, in as few lines as possible; all between the first and the last difference if that would take long. The same
 * texts always give the same hunks.
 */
function hunksBetween(old: string, fresh: string): readonly StructuredPatchHunk[] {
  const [before, after] = [linesOf(old), linesOf(fresh)]
  const most = Math.ceil(MAX_STEPS / (before.length + after.length + 1))
  const options = { context: CONTEXT, maxEditLength: Math.min(most, MAX_EDITS) }
  const found = structuredPatch('', '', old, fresh, '', '', options)
  return found?.hunks ?? [replaced(before, after)]
}

const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+/g) ?? []

function replaced(before: readonly string[], after: readonly string[]): StructuredPatchHunk {
  const shorter = Math.min(before.length, after.length)
  let start = 0
  let same = 0
  while (start < shorter && before[start] === after[start]) start += 1
  while (same < shorter - start && before.at(-1 - same) === after.at(-1 - same)) same += 1
  const from = Math.max(0, start - CONTEXT)
  const [oldEnd, newEnd] = [before.length - same, after.length - same]
  const written = (sign: string, lines: readonly string[]) =>
    lines.map((line) => {
      return line.endsWith('\n')
        ? sign + line.slice(0, -1)
        : `${sign}${line}\n\\ No newline at end of file`
    })
  const around = Math.min(CONTEXT, same) - from
  return {
    oldStart: from + 1,
    oldLines: oldEnd + around,
    newStart: from + 1,
    newLines: newEnd + around,
    lines: [
      ...written(' ', before.slice(from, start)),
      ...written('-', before.slice(start, oldEnd)),
      ...written('+', after.slice(start, newEnd)),
      ...written(' ', before.slice(oldEnd, oldEnd + CONTEXT)),
    ],
  }
}
