import { createHash } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import type { TreeChange } from './compare-trees.ts'
import { diffFile, type FileDiff, type ReadBlob } from './file-diff.ts'

/**
 * The patch that makes the new files of the old ones, as `git apply --binary` takes it; empty if nothing changed. (It refuses only what
 * git refuses in its own patches: that a link to itself becomes a folder, and names like `.git`.) What was not kept is not in it, so if
 * something else comes where that stays, git refuses the patch.
 */
export async function patchOf(changes: readonly TreeChange[], readBlob: ReadBlob): Promise<Buffer> {
  const parts: Buffer[] = []
  for (const change of changes) {
    const diff = await diffFile(change, readBlob)
    if (diff !== null) parts.push(patchOfFile(diff))
  }
  return Buffer.concat(parts)
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
  '\x07': '\\a',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '"': '\\"',
  '\\': '\\\\',
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
