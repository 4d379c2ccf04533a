import { createHash } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import type { TreeChange, TreeComparison } from './compare-trees.ts'
import { diffFile, type FileDiff, type ReadBlob } from './file-diff.ts'

export type Patch = {
  /**
   * What `git apply --binary` takes; empty if nothing changed. (It refuses only what git refuses in its own patches: that
   * a link to itself becomes a folder, and names like `.git`.)
   */
  readonly patch: Buffer
  /**
   * The paths of what is not in the patch, in their order: files of which a content was not kept, folders that are not known,
   * and files that cannot come where something of these stays.
   */
  readonly leftOut: readonly string[]
}

/** The patch that makes the new files of the old ones. */
export async function patchOf(comparison: TreeComparison, readBlob: ReadBlob): Promise<Patch> {
  const parts: [path: string, part: Buffer][] = []
  const lacking: string[] = []
  for (const change of comparison.changes) {
    const diff = await diffFile(change, readBlob)
    if (diff === null) lacking.push(change.path)
    else parts.push([change.path, patchOfFile(diff)])
  }
  const leftOut = leftOutOf(comparison, lacking)
  const kept = parts.flatMap(([path, part]) => (leftOut.has(path) ? [] : [part]))
  return { patch: Buffer.concat(kept), leftOut: [...leftOut].toSorted() }
}

/**
 * What is lacking, and what cannot be made because of it: no file comes where a file or a folder stays, and none into a
 * folder where a file stays.
 */
function leftOutOf({ changes, unknown }: TreeComparison, lacking: readonly string[]): Set<string> {
  const leftOut = new Set([...unknown, ...lacking])
  for (let size = -1; size !== leftOut.size; ) {
    size = leftOut.size
    const old = changes.filter((change) => change.old !== null && leftOut.has(change.path))
    const staying = new Set([...unknown, ...old.map(({ path, oldPath = path }) => oldPath)])
    const above = new Set([...staying].flatMap(foldersOf))
    for (const { path, new: fresh } of changes) {
      const places = [path, ...foldersOf(path)]
      if (fresh !== null && (above.has(path) || places.some((place) => staying.has(place))))
        leftOut.add(path)
    }
  }
  return leftOut
}

/** The folders that a path is in, within the project. */
export const foldersOf = (path: string): string[] =>
  [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))

/** The part of a patch for one file, in the format of git. */
function patchOfFile({ change, binary, hunks, contents }: FileDiff): Buffer {
  const { path, oldPath = path, old, new: fresh } = change
  const [oldName, newName] = [quoted(`a/${oldPath}`), quoted(`b/${path}`)]
  const lines = [`diff --git ${oldName} ${newName}`, ...modeLines(change)]
  if (oldPath !== path)
    lines.push(
      'similarity index 100%',
      `rename from ${quoted(oldPath)}`,
      `rename to ${quoted(path)}`,
    )
  if (contents !== null) {
    const mode = old?.mode === fresh?.mode ? ` ${old?.mode}` : ''
    lines.push(`index ${gitId(contents.old)}..${gitId(contents.new)}${mode}`)
    if (binary) lines.push('GIT binary patch', literal(contents.new), literal(contents.old))
  }
  if (hunks.length > 0) {
    lines.push(`--- ${old === null ? '/dev/null' : ended(oldName)}`)
    lines.push(`+++ ${fresh === null ? '/dev/null' : ended(newName)}`)
  }
  return Buffer.from(`${lines.join('\n')}\n${hunks.map(hunkText).join('')}`, 'latin1')
}

function modeLines({ old, new: fresh }: TreeChange): string[] {
  if (old === null) return [`new file mode ${fresh?.mode}`]
  if (fresh === null) return [`deleted file mode ${old.mode}`]
  return old.mode === fresh.mode ? [] : [`old mode ${old.mode}`, `new mode ${fresh.mode}`]
}

/** The id in a repository with SHA-1, which `git apply` compares for binary files; zeros for no file. */
function gitId(content: Buffer | null): string {
  if (content === null) return '0'.repeat(40)
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '\x07': '\\a', '\b': '\\b', '\t': '\\t', '\n': '\\n', '\v': '\\v', '\f': '\\f' },
  ...{ '\r': '\\r', '"': '\\"', '\\': '\\\\' },
}

/** A path as git writes it: between quotes, with escapes as in C, if it has other characters than those that ASCII shows. */
function quoted(path: string): string {
  const escaped = path.replace(
    /[^ -~]|["\\]/g,
    (char) => ESCAPES[char] ?? `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`,
  )
  return escaped === path ? path : `"${escaped}"`
}

/** A name with spaces ends with a tab, or other programs than git take the rest for a date. */
const ended = (name: string): string => (name.includes(' ') ? `${name}\t` : name)

function hunkText({ oldStart, oldLines, newStart, newLines, lines }: FileDiff['hunks'][number]) {
  // Where there is no line, git names the one before.
  const range = (start: number, count: number) =>
    count === 1 ? `${start}` : `${start - Number(count === 0)},${count}`
  return `@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@\n${lines.join('\n')}\n`
}

/** The digits of git's base 85. */
const DIGITS =
  '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~'
const LINE_BYTES = 52

/** A whole content in a binary patch, with the empty line that ends it: compressed, and then lines of up to 52 bytes. */
function literal(content: Buffer | null): string {
  const bytes = content ?? Buffer.alloc(0)
  const packed = deflateSync(bytes)
  const lines = [`literal ${bytes.length}`]
  for (let at = 0; at < packed.length; at += LINE_BYTES) {
    const line = packed.subarray(at, at + LINE_BYTES)
    // A to Z are lengths from 1 to 26, and a to z those up to 52: the digits after 9.
    lines.push(`${DIGITS[line.length + 9]}${base85(line)}`)
  }
  return `${lines.join('\n')}\n`
}

/** Five digits for every four bytes, the last ones with zeros after them. */
function base85(bytes: Buffer): string {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 4) * 4)
  bytes.copy(padded)
  let text = ''
  for (let at = 0; at < padded.length; at += 4) {
    const number = padded.readUInt32BE(at)
    for (const power of [85 ** 4, 85 ** 3, 85 ** 2, 85, 1])
      text += DIGITS[Math.floor(number / power) % 85]
  }
  return text
}
