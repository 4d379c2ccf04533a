import type { NewEvent } from '../store/event-store.ts'
import { canonicalText, commitmentTo, leafSalt, mapStrings } from './commitment.ts'

/** What stands in a record for a string that was taken out. By itself it means nothing. */
const PLACEHOLDER = '[redacted]'

/** Hex texts by the RFC 6901 pointers of strings, from the payload. */
export type ByPointer = Readonly<Record<string, string>>

/** What is left of the salt of a record once strings were taken out of it. */
export type Remainder = {
  /** The own salts of the strings that stay. */
  readonly salts: ByPointer
  /** The commitments to the strings that were taken out. */
  readonly redacted: ByPointer
}

/** A record and what its metadata says of its strings do not go together. */
export class NotAsRedacted extends Error {
  override readonly name = 'NotAsRedacted'
}

/**
 * As `committed`, for a record out of which strings were taken: the very same as before.
 * @throws NotAsRedacted unless every string has its one salt or commitment, and there are no others
 */
export function committedRemainder(payload: object, { salts, redacted }: Remainder): string {
  let found = 0
  const commitments = canonicalText(payload, (text, pointer) => {
    found += 1
    const commitment = redacted[pointer]
    if (commitment !== undefined) {
      if (text === PLACEHOLDER) return `"${commitment}"`
      throw new NotAsRedacted(`${pointer} was taken out, and there is a text in its place`)
    }
    const salt = salts[pointer]
    if (salt !== undefined) return `"${commitmentTo(text, salt)}"`
    throw new NotAsRedacted(`${pointer} has no salt`)
  })
  if (found === Object.keys(salts).length + Object.keys(redacted).length) return commitments
  throw new NotAsRedacted('its metadata speaks of strings that it does not have')
}

/** The pointers of the strings that were taken out of an event; none for what is no record. */
export function stringsGone({ metadata }: NewEvent): readonly string[] {
  if (!metadata.includes('"redacted"')) return []
  const { redacted }: StoredMeta = JSON.parse(metadata)
  return Object.keys(redacted ?? {})
}

type Stored = { readonly payload?: object; readonly [name: string]: unknown }
type StoredMeta = { readonly salt?: string } & Partial<Remainder>

/**
 * An event without the strings at these pointers, and all commitments to strings that are taken out of
 * it by now. Its id and hash stay. Pointers that lead to no string, or to one that was taken out before,
 * change nothing; the very same event is given back where nothing changes.
 */
export function withoutStrings<E extends NewEvent>(
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
  const left = mapStrings(payload, (text, pointer) => {
    if (redacted[pointer] !== undefined) return text
    const own = salt === undefined ? meta.salts?.[pointer] : leafSalt(salt, pointer)
    if (own === undefined) throw new NotAsRedacted(`${pointer} has no salt`)
    if (pointers.has(pointer)) {
      redacted[pointer] = commitmentTo(text, own)
      return PLACEHOLDER
    }
    salts[pointer] = own
    return text
  })
  if (Object.keys(redacted).length === before) return { event, redacted }
  const stored = {
    ...event,
    data: JSON.stringify({ ...data, payload: left }),
    metadata: JSON.stringify(withRemainder(meta, { salts, redacted })),
  }
  return { event: stored, redacted }
}

/** Names keep their order: by the first of them readers tell what was written by whom. */
function withRemainder(meta: object, remainder: Remainder): object {
  return Object.fromEntries(
    Object.entries(meta).flatMap(([name, value]) => {
      if (name === 'salt' || name === 'salts') return Object.entries(remainder)
      return name === 'redacted' ? [] : [[name, value]]
    }),
  )
}
