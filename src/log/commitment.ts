import type { RequestedCall } from '../domain/records.ts'
import { sha256 } from '../lib/sha256.ts'

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** Bytes of the salt of a record. */
export const SALT_BYTES = 16

/**
 * The salt (hex) of one string of a record, by its RFC 6901 pointer from the payload. Both salts have a fixed length,
 * so nothing here can be read in two ways. The secret comes last, so that the salt of one string reveals no other.
 */
export const leafSalt = (recordSalt: string, pointer: string): string =>
  sha256(pointer + recordSalt)

/**
 * The canonical form of the payload in which a commitment replaces each string: the SHA-256 (hex) of the string's own
 * salt and the string. The hash of a record is made over this. So one string can later be redacted together with its
 * salt: the chain still verifies, and nobody can guess the string. Numbers, booleans and keys stay as they are.
 * @param salt of the record, hex
 */
export function committed(payload: object, salt: string): string {
  return canonicalText(
    payload,
    (text, pointer) => `"${commitmentTo(text, leafSalt(salt, pointer))}"`,
  )
}

/**
 * The RFC 8785 canonical form of a JSON value, like that of `canonicalize`, but `written` decides what is written for
 * each string. It is written directly, since all verification passes through here.
 * @param written gets a string and its RFC 6901 pointer, and returns JSON text
 * @throws TypeError for a lone surrogate and for a number that is not finite: they have no canonical form
 */
export function canonicalText(
  given: unknown,
  written: (text: string, pointer: string) => string = quoted,
): string {
  const write = (value: unknown, pointer: string): string => {
    if (typeof value === 'string') return written(value, pointer)
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw new TypeError(`${value}`)
      // The same text as that of JSON.stringify, in a fraction of the time.
      return `${value}`
    }
    // An undefined item of an array is null, as in JSON.
    if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
    if (Array.isArray(value)) {
      return `[${value.map((item, index) => write(item, `${pointer}/${index}`)).join(',')}]`
    }
    let text = ''
    for (const { name, prefix, step } of membersOf(value)) {
      const item: unknown = Reflect.get(value, name)
      if (item !== undefined)
        text += `${text === '' ? '' : ','}${prefix}${write(item, pointer + step)}`
    }
    return `{${text}}`
  }
  return write(given, '')
}

/** A name of an object, the canonical text before its value, and what the name adds to a pointer. */
type Member = { readonly name: string; readonly prefix: string; readonly step: string }
type Shape = { readonly names: readonly string[]; readonly members: readonly Member[] }

/** Records have few shapes of objects, so the names of each are sorted and quoted once. Found by the first name. */
const SHAPES = new Map<string, readonly Shape[]>()
/** How many are kept: first names, shapes of each, characters of each shape. */
const [MAX_FIRST, MAX_ALIKE, MAX_LENGTH] = [100, 20, 1_000] as const

function membersOf(value: object): readonly Member[] {
  const names = Object.keys(value)
  const [first = ''] = names
  const alike = SHAPES.get(first) ?? []
  for (const known of alike) if (isSame(known.names, names)) return known.members
  const members = names.toSorted().map((name) => {
    return { name, prefix: `${quoted(name)}:`, step: `/${escapedName(name)}` }
  })
  const isRoom = alike.length < MAX_ALIKE && SHAPES.size < MAX_FIRST
  if (isRoom && names.join('').length < MAX_LENGTH)
    SHAPES.set(first, [...alike, { names, members }])
  return members
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false
  for (let at = 0; at < one.length; at += 1) if (one[at] !== other[at]) return false
  return true
}

/** SHA-256 (hex) of a tool call in its canonical form, as the log holds it. */
export function hashOfCall({ call_id, tool, args, raw_args }: RequestedCall): string {
  return sha256(canonicalText({ call_id, tool, args, raw_args }))
}

/** A string as JSON text. @throws TypeError for lone surrogates */
export function quoted(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('a lone surrogate has no UTF-8')
  return JSON.stringify(text)
}

/** A commitment (hex) to a string, by the string's own salt. */
export const commitmentTo = (text: string, ownSalt: string): string => sha256(ownSalt + text)

/** A copy of the payload with each string replaced by what `replace` returns for it and its pointer. */
export function mapStrings(
  payload: object,
  replace: (text: string, pointer: string) => string,
): Json {
  const walk = (value: Json, pointer: string): Json => {
    if (typeof value === 'string') return replace(value, pointer)
    if (Array.isArray(value)) return value.map((item, index) => walk(item, `${pointer}/${index}`))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => {
        return [name, walk(item, `${pointer}/${escapedName(name)}`)]
      }),
    )
  }
  return walk(payload as Json, '')
}

export const escapedName = (name: string): string =>
  name.includes('~') || name.includes('/') ? name.replaceAll('~', '~0').replaceAll('/', '~1') : name
