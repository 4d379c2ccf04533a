import { createHmac } from 'node:crypto'

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** Bytes of the salt of a record. */
export const SALT_BYTES = 16

/** The salt of one string of a record, by its RFC 6901 pointer from the payload. */
function leafSalt(salt: Buffer, pointer: string): Buffer {
  return createHmac('sha256', salt).update(pointer).digest()
}

/**
 * The payload with every string in it replaced by a commitment to it: HMAC-SHA256 (hex) of the string,
 * with its own salt as the key. The hash of a record is made over this, so that one string can later be
 * taken out of what is stored, together with its salt, while the chain still verifies and nobody can
 * learn the string by guessing. Numbers, booleans and keys stay as they are.
 * @param salt of the record, hex
 */
export function committed(payload: object, salt: string): Json {
  const key = Buffer.from(salt, 'hex')
  const commit = (value: Json, pointer: string): Json => {
    if (typeof value === 'string') {
      return createHmac('sha256', leafSalt(key, pointer)).update(value).digest('hex')
    }
    if (Array.isArray(value)) return value.map((item, index) => commit(item, `${pointer}/${index}`))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [
        name,
        commit(item, `${pointer}/${escaped(name)}`),
      ]),
    )
  }
  return commit(payload as Json, '')
}

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')
