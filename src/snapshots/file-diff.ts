import { diffArrays } from 'diff'
import type { TreeChange } from './compare-trees.ts'

/** A line of a hunk: its bytes, each as one character (latin1), with its `\n` unless it is a last line that has none. */
export type HunkLine = { readonly type: 'same' | 'removed' | 'added'; readonly text: string }

/** A part of a file in which lines changed, with up to three lines around them. */
export type Hunk = {
  /** The number of its first line in the old file, from 1 on; 0 if the old file has no lines. */
  readonly oldStart: number
  readonly oldLines: number
  readonly newStart: number
  readonly newLines: number
  readonly lines: readonly HunkLine[]
}

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
  /** Empty for a binary file, and if the content is the same. */
  readonly hunks: readonly Hunk[]
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
  const count = (type: HunkLine['type']): number =>
    hunks.reduce((sum, { lines }) => sum + lines.filter((line) => line.type === type).length, 0)
  return {
    change,
    additions: count('added'),
    deletions: count('removed'),
    binary: false,
    hunks,
    contents,
  }
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

/** What differs between two texts of latin1 characters. The same texts always give the same hunks. */
export function hunksBetween(old: string, fresh: string): Hunk[] {
  const [before, after] = [linesOf(old), linesOf(fresh)]
  const groups: Edit[][] = []
  for (const edit of editsBetween(before, after)) {
    const group = groups.at(-1)
    const last = group?.at(-1)
    if (group !== undefined && last !== undefined && edit.oldAt - last.oldEnd <= 2 * CONTEXT)
      group.push(edit)
    else groups.push([edit])
  }
  return groups.map((edits) => hunkOf(edits, before, after))
}

const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+/g) ?? []

/** The old lines from `oldAt` to before `oldEnd` became the new ones from `newAt` to before `newEnd`. */
type Edit = { oldAt: number; oldEnd: number; newAt: number; newEnd: number }

/** Comparing takes at most about as many steps as lines times edits, and memory for the square of the edits. */
const MAX_STEPS = 200_000_000
const MAX_EDITS = 1000

/** What differs, in as few lines as possible; all between the first and the last difference if that would take long. */
function editsBetween(before: readonly string[], after: readonly string[]): Edit[] {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1
  let [oldEnd, newEnd] = [before.length, after.length]
  while (oldEnd > start && newEnd > start && before[oldEnd - 1] === after[newEnd - 1]) {
    oldEnd -= 1
    newEnd -= 1
  }
  const numbers = new Map<string, number>()
  const numberOf = (line: string): number => {
    const number = numbers.get(line) ?? numbers.size
    numbers.set(line, number)
    return number
  }
  const [old, fresh] = [before.slice(start, oldEnd), after.slice(start, newEnd)]
  const limit = Math.ceil(MAX_STEPS / (old.length + fresh.length + 1))
  const parts = diffArrays(old.map(numberOf), fresh.map(numberOf), {
    maxEditLength: Math.min(limit, MAX_EDITS),
  })
  if (parts === undefined) return [{ oldAt: start, oldEnd, newAt: start, newEnd }]
  const edits: Edit[] = []
  let [oldAt, newAt] = [start, start]
  for (const { added, removed, count } of parts) {
    const [oldNext, newNext] = [oldAt + (added ? 0 : count), newAt + (removed ? 0 : count)]
    const last = edits.at(-1)
    if (added || removed) {
      if (last?.oldEnd === oldAt && last.newEnd === newAt) {
        last.oldEnd = oldNext
        last.newEnd = newNext
      } else edits.push({ oldAt, oldEnd: oldNext, newAt, newEnd: newNext })
    }
    oldAt = oldNext
    newAt = newNext
  }
  return edits
}

function hunkOf(edits: readonly Edit[], before: readonly string[], after: readonly string[]): Hunk {
  const lines: HunkLine[] = []
  const take = (type: HunkLine['type'], from: readonly string[], at: number, end: number): void => {
    for (const text of from.slice(at, end)) lines.push({ type, text })
  }
  const firstAt = edits[0]?.oldAt ?? 0
  const oldAt = Math.max(firstAt - CONTEXT, 0)
  const newAt = (edits[0]?.newAt ?? 0) - (firstAt - oldAt)
  let at = oldAt
  for (const edit of edits) {
    take('same', before, at, edit.oldAt)
    take('removed', before, edit.oldAt, edit.oldEnd)
    take('added', after, edit.newAt, edit.newEnd)
    at = edit.oldEnd
  }
  take('same', before, at, at + CONTEXT)
  const oldLines = lines.filter(({ type }) => type !== 'added').length
  const newLines = lines.filter(({ type }) => type !== 'removed').length
  return {
    oldStart: oldLines === 0 ? oldAt : oldAt + 1,
    oldLines,
    newStart: newLines === 0 ? newAt : newAt + 1,
    newLines,
    lines,
  }
}
