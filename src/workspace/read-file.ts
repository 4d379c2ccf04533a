import { err, ok, type Result } from 'neverthrow'
import { sha256 } from '../lib/sha256.ts'
import type { Failure, Workspace } from './workspace.ts'

export type WholeFile = {
  /** Relative to the project. */
  readonly shown: string
  readonly content: Buffer
  readonly mode: number
  readonly sha256: string
}

type Asked = {
  readonly path: string
  readonly maxBytes: number
  readonly isToWrite?: boolean
  readonly signal?: AbortSignal
}

/** The content of a regular file of the project, of at most `maxBytes`. */
export async function readWhole(
  workspace: Workspace,
  { path, maxBytes, isToWrite = false, signal }: Asked,
): Promise<Result<WholeFile, Failure>> {
  const asked = { path, from: 0, bytes: maxBytes + 1, isToWrite }
  const read = await workspace.ask('read', asked, signal && { signal })
  if (read.isErr()) return err(read.error)
  const { shown, mode, body: content } = read.value
  if (content.length > maxBytes) return err({ problem: { type: 'too_large', maxBytes } })
  return ok({ shown, content, mode, sha256: sha256(content) })
}

/** Most files are no larger. */
const FIRST_BYTES = 256 * 1024
const NEXT_BYTES = 4 * 1024 * 1024
/** What a reader gets at once: it may look at the beginning of a file and stop. */
const PIECE_BYTES = 64 * 1024

export type OpenFile = {
  readonly shown: string
  readonly size: number
  /** The beginning. */
  readonly head: Buffer
  /** All of it, from the beginning, as far as somebody reads. Throws if it cannot be read any more. */
  readonly chunks: AsyncIterable<Buffer>
}

/** Begins to read a regular file of the project, of any size. */
export async function readFile(
  workspace: Workspace,
  path: string,
  signal: AbortSignal,
): Promise<Result<OpenFile, Failure>> {
  const next = (from: number, bytes: number) =>
    workspace.ask('read', { path, from, bytes }, { signal })
  const first = await next(0, FIRST_BYTES)
  if (first.isErr()) return err(first.error)
  const { shown, size, body: head } = first.value
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < head.length; at += PIECE_BYTES) yield head.subarray(at, at + PIECE_BYTES)
    for (let at = head.length; at >= FIRST_BYTES; ) {
      const read = await next(at, NEXT_BYTES)
      if (read.isErr()) throw new Error(`${shown} cannot be read any more`)
      if (read.value.body.length === 0) return
      yield read.value.body
      at += read.value.body.length
    }
  }
  return ok({ shown, size, head, chunks: chunks() })
}
