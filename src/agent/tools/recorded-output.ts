import type { Artifacts } from '../../artifacts/artifacts.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { codeOf } from '../../lib/message-of.ts'
import { characterStart, counted, nextCharacterStart } from '../../lib/text.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { ToolOutput } from './tool.ts'

/** Bytes of output that a record holds. Longer output becomes an artifact as a whole. */
export const INLINE_BYTES = 32_768
/** The same of a command that failed: what matters is at its beginning and its end. */
const FAILED_BYTES = 10_240
/** Room for the line between head and tail. */
const MARKER_BYTES = 256

/** Characters of a line that are shown, where a call reads a text. */
export const LINE_CHARS = 2_000
/** The same where it searches: a found line of a minified file can have a megabyte. */
export const FOUND_LINE_CHARS = 500
/** A line that is longer by less than this is not cut: the note would take as much. */
const NOTE_CHARS = 100
/** What a tool may put before a line that it has cut: the number of the line. */
const PREFIX_CHARS = 20

/**
 * A line of at most `limit` characters, with a note of how many are left out. A line that was cut is not cut again.
 * @param missing characters of the line after those of `line`
 */
export function cutLine(line: string, limit: number = LINE_CHARS, missing = 0): string {
  if (missing === 0 && line.length <= limit + NOTE_CHARS) return line
  const shown = line.slice(0, limit).replace(/[\uD800-\uDBFF]$/, '')
  const left = line.length - shown.length + missing
  return `${shown} [… ${counted(left, 'more character')} of this line are left out]`
}

const LONGEST_LINE = LINE_CHARS + NOTE_CHARS + PREFIX_CHARS

/** The same for each line of a text. */
const cutLines = (text: string): string =>
  text
    .split('\n')
    .map((line) => (line.length > LONGEST_LINE ? cutLine(line) : line))
    .join('\n')

type Recorded = Omit<PayloadOf<'tool_result'>, 'call_id' | 'tool' | 'duration_ms'>

/**
 * Shortens output that is too long for a record, after storing the whole as an artifact. Secrets are masked first:
 * before the output is stored, hashed, counted or cut.
 * @param cuts whether long lines are cut, too
 */
export async function recordedOutput(
  { image, exitCode: exit_code, isMasked = false, ...outcome }: ToolOutput,
  artifacts: Pick<Artifacts, 'put'>,
  cuts: boolean,
): Promise<Recorded> {
  const masked = isMasked ? outcome.output : processMask.text(outcome.output.toWellFormed())
  const rest = { ...outcome, exit_code }
  if (image !== undefined) return recordedImage({ ...rest, output: masked }, image, artifacts)
  const bytes = Buffer.byteLength(masked)
  const lines = cuts ? cutLines(masked) : masked
  const limit = cuts && FAILED.has(outcome.outcome) ? FAILED_BYTES : INLINE_BYTES
  const isCut = lines !== masked
  const isLong = Buffer.byteLength(lines) > limit - (isCut ? MARKER_BYTES : 0)
  if (!isLong && !isCut) {
    return { ...rest, output: masked, bytes, truncated: false, sha256: null }
  }
  const { kept, sha256 } = await keep(Buffer.from(masked), artifacts)
  const output = isLong
    ? headAndTail(Buffer.from(lines), bytes, kept, limit)
    : `${lines}${lines.endsWith('\n') ? '' : '\n'}[${sentence(kept)}]`
  return { ...rest, output, bytes, truncated: true, sha256 }
}

/** Stores a whole output, and says where it is, as a part of a sentence. */
async function keep(
  whole: Buffer,
  artifacts: Pick<Artifacts, 'put'>,
): Promise<{ readonly kept: string; readonly sha256: string | null }> {
  try {
    const sha256 = await artifacts.put(whole)
    const kept = `the whole is kept as artifact ${sha256}: output_read reads or searches it`
    return { kept, sha256 }
  } catch (cause) {
    const code = codeOf(cause)
    const why = code === null ? '' : ` (${code})`
    return { kept: `the whole could not be kept${why}`, sha256: null }
  }
}

/** Its text says what the image is, and the image is the artifact. */
async function recordedImage(
  rest: Omit<Recorded, 'bytes' | 'truncated' | 'sha256'>,
  { content, ...image }: NonNullable<ToolOutput['image']>,
  artifacts: Pick<Artifacts, 'put'>,
): Promise<Recorded> {
  const { sha256 } = await keep(content, artifacts)
  const bytes = Buffer.byteLength(rest.output)
  const text =
    bytes > INLINE_BYTES
      ? headAndTail(Buffer.from(rest.output), bytes, BESIDE, INLINE_BYTES)
      : rest.output
  if (sha256 !== null) {
    return { ...rest, output: text, bytes: content.length, truncated: true, sha256, image }
  }
  const output = `${text} The image is not shown, because it could not be kept.`
  return { ...rest, output, bytes, truncated: false, sha256: null }
}

/** Only results of MCP servers hold a long text and an image. */
const BESIDE = 'they are not kept, because the artifact of this result is its image'

const FAILED: ReadonlySet<string> = new Set(['error', 'timed_out'])

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

/**
 * The head and the tail of a text, with a line between them: how many bytes are left out, and where the whole is. Never
 * more than the limit, never a part of a character.
 * @param text as UTF-8, longer than the limit
 * @param bytes of the whole, before its lines were cut
 * @param kept where the whole is, as a part of a sentence
 */
function headAndTail(text: Buffer, bytes: number, kept: string, limit: number): string {
  const half = (limit - MARKER_BYTES) / 2
  const headEnd = characterStart(text, half)
  const tailStart = nextCharacterStart(text, text.length - half)
  const left = tailStart - headEnd + bytes - text.length
  const marker = `[… ${left} of ${bytes} bytes are left out here; ${kept} …]`
  return `${text.subarray(0, headEnd)}\n${marker}\n${text.subarray(tailStart)}`
}
