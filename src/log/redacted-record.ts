import { REDACTED } from '../domain/free-text.ts'
import type { NewEvent } from '../store/event-store.ts'
import { canonicalText, commitmentTo, leafSalt, mapStrings } from './commitment.ts'

/** Hex texts by the RFC 6901 pointers of strings, from the payload. */
export type ByPointer = Readonly<Record<string, string>>

/** Replaces the salt of a record with redacted strings. */
export type RedactedSalts = {
  /** The own salts of the strings that remain. */
  readonly salts: ByPointer
  /** The commitments to the redacted strings. */
  readonly redacted: ByPointer
}

/** A record does not have the strings that its metadata names. */
export class NotAsRedacted extends Error {
  override readonly name = 'NotAsRedacted'
}

/**
 * As `committed`, for a redacted record: the same text as before the redaction.
 * @throws NotAsRedacted unless each string has one salt or commitment, and no other strings are named
 */
export function committedRedacted(payload: object, { salts, redacted }: RedactedSalts): string {
  let found = 0
  const commitments = canonicalText(payload, (text, pointer) => {
    found += 1
    const commitment = redacted[pointer]
    if (commitment !== undefined) {
      if (text === REDACTED) return `"${commitment}"`
      throw new NotAsRedacted(`${pointer} is redacted, but there is a text in its place`)
    }
    const salt = salts[pointer]
    if (salt !== undefined) return `"${commitmentTo(text, salt)}"`
    throw new NotAsRedacted(`${pointer} has no salt`)
  })
  if (found === Object.keys(salts).length + Object.keys(redacted).length) return commitments
  throw new NotAsRedacted('its metadata names strings that it does not have')
}

/** The pointers of the redacted strings of an event; none for an event that is not a record. */
export function redactedPointers({ metadata }: NewEvent): readonly string[] {
  if (!metadata.includes('"redacted"')) return []
  const { redacted }: StoredMeta = JSON.parse(metadata)
  return Object.keys(redacted ?? {})
}

type Stored = { readonly payload?: object; readonly [name: string]: unknown }
type StoredMeta = { readonly salt?: string } & Partial<RedactedSalts>

/**
 * Redacts the strings at these pointers. Returns the event without them, and the commitments to all its redacted
 * strings. The id and the hash of the event stay. A pointer to no string, or to a redacted one, changes nothing. If
 * nothing changes, the same object is returned.
 */
export function redactStrings<E extends NewEvent>(
  event: E,
  pointers: ReadonlySet<string>,
): { readonly event: E; readonly redacted: ByPointer } {
  const { payload, ...data }: Stored = JSON.parse(event.data)
  const meta: StoredMeta = JSON.parse(event.metadata)
  const { salt } = meta
  const redacted: Record<string, string> = { ...meta.redacted }
  if (payload === undefined || (salt === undefined && meta.salts === undefined)) {
    return { event, redacted }
  }
  const before = Object.keys(redacted).length
  const salts: Record<string, string> = {}
  const remaining = mapStrings(payload, (text, pointer) => {
    if (redacted[pointer] !== undefined) return text
    const own = salt === undefined ? meta.salts?.[pointer] : leafSalt(salt, pointer)
    if (own === undefined) throw new NotAsRedacted(`${pointer} has no salt`)
    if (pointers.has(pointer)) {
      redacted[pointer] = commitmentTo(text, own)
      return REDACTED
    }
    salts[pointer] = own
    return text
  })
  if (Object.keys(redacted).length === before) return { event, redacted }
  const stored = {
    ...event,
    data: JSON.stringify({ ...data, payload: remaining }),
    metadata: JSON.stringify(withRedactedSalts(meta, { salts, redacted })),
  }
  return { event: stored, redacted }
}

/** Keeps the order of the names: readers recognize our metadata by the first one. */
function withRedactedSalts(meta: object, salts: RedactedSalts): object {
  return Object.fromEntries(
    Object.entries(meta).flatMap(([name, value]) => {
      if (name === 'salt' || name === 'salts') return Object.entries(salts)
      return name === 'redacted' ? [] : [[name, value]]
    }),
  )
}
