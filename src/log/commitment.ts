import { sha256 } from '../lib/sha256.ts'

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** Bytes of the salt of a record. */
export const SALT_BYTES = 16

/**
 * The salt (hex) of one string of a record, by its RFC 6901 pointer from the payload. Both salts have a
 * fixed length, so nothing here can be read in two ways; and the secret stands last, so that the salt
 * of one string tells nothing about that of another.
 */
export const leafSalt = (recordSalt: string, pointer: string): string =>
  sha256(pointer + recordSalt)

/**
 * The payload with every string in it replaced by a commitment to it: SHA-256 (hex) of the string's own
 * salt and the string. The hash of a record is made over this, so that one string can later be taken
 * out of what is stored, together with its salt, while the chain still verifies and nobody can learn
 * the string by guessing. Numbers, booleans and keys stay as they are.
 * @param salt of the record, hex
 */
export function committed(payload: object, salt: string): Json {
  return mapStrings(payload, (text, pointer) => commitmentTo(text, leafSalt(salt, pointer)))
}

/** A commitment (hex) to a string, by the string's own salt. */
export const commitmentTo = (text: string, ownSalt: string): string => sha256(ownSalt + text)

/** A copy of the payload with every string in it replaced; `replace` is told the pointer of each. */
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
  name.replaceAll('~', '~0').replaceAll('/', '~1')
