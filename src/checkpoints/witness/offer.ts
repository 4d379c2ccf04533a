import { messageOf } from '../../lib/message-of.ts'
import {
  checkNote,
  type NoteKey,
  type NoteSignature,
  readSignatures,
  readTreeNote,
  type TreeNote,
} from '../../lib/note-check.ts'
import { sha256 } from '../../lib/sha256.ts'
import { type AddCheckpoint, addCheckpointText, readSize } from './add-checkpoint.ts'

/** `url`: what comes before the paths of tlog-witness. */
export type NamedWitness = { readonly key: NoteKey; readonly url: string }

/** `at`: milliseconds since the epoch. */
export type Signed = {
  readonly type: 'signed'
  readonly signatures: readonly NoteSignature[]
  readonly at: number
}

/** How a witness answers. A `problem` is a sentence for people. */
type Offered =
  | Signed
  /** It has seen a tree of this size. */
  | { readonly type: 'other_size'; readonly size: number }
  /** It has seen a tree with which this one does not begin. */
  | { readonly type: 'inconsistent' }
  | { readonly type: 'failed'; readonly problem: string; readonly isKeyUnknown?: boolean }

type Calling = { readonly fetch: typeof fetch; readonly signal: AbortSignal }

const REQUEST_MS = 10_000
/** For a request to somebody else, until that signal. */
export const within = (signal: AbortSignal): AbortSignal =>
  AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)])

/** Offers a checkpoint to a witness. Never rejects. */
export async function offer(
  { key, url }: NamedWitness,
  request: AddCheckpoint,
  { fetch, signal }: Calling,
): Promise<Offered> {
  try {
    const response = await fetch(`${url}/add-checkpoint`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: addCheckpointText(request),
      signal: within(signal),
    })
    return answerOf(response.status, await response.text(), request, key)
  } catch (cause) {
    return { type: 'failed', problem: `It cannot be reached: ${messageOf(cause)}.` }
  }
}

function answerOf(status: number, text: string, { note }: AddCheckpoint, key: NoteKey): Offered {
  if (status === 200) {
    const all = readSignatures(text.trimEnd().split('\n')) ?? []
    const signatures = all.filter(({ name, id }) => name === key.name && id === key.id)
    const checked = checkNote({ text: note.text, signatures }, key)
    if (checked.type === 'good') return { type: 'signed', signatures, at: checked.at }
    return { type: 'failed', problem: 'Its answer has no signature of its key.' }
  }
  const size = readSize(text.trim())
  if (status === 409 && size !== null) return { type: 'other_size', size }
  if (status === 422) return { type: 'inconsistent' }
  const problem = PROBLEMS[status] ?? `It answers with the status ${status}.`
  return { type: 'failed', problem, isKeyUnknown: status === 403 }
}

const PROBLEMS: Readonly<Record<number, string>> = {
  403: 'It does not know the key of this server: give it the one of GET /api/log/key.',
  404: 'It does not know this log: give it the key of GET /api/log/key.',
}

/** The newest note of a log that a witness shows; null if it shows none. */
export async function shownBy(
  { url }: NamedWitness,
  origin: string,
  { fetch, signal }: Calling,
): Promise<TreeNote | null> {
  const path = `${url}/${sha256(origin)}/checkpoint`
  const text = await fetch(path, { signal: within(signal) }).then((response) => response.text())
  const shown = readTreeNote(text)
  return shown?.head.origin === origin ? shown : null
}
