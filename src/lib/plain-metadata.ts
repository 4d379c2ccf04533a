/** The metadata of nearly all records, as this server writes it. */
type PlainMetadata = {
  readonly schema: 1
  readonly command_id: string
  readonly principal?: string
  /** 32 hex digits. */
  readonly salt: string
  /** 64 hex digits. */
  readonly prev_hash: string
  readonly hash: string
}

const [SALT_LENGTH, HASH_LENGTH] = [32, 64]
const BEGIN = '{"schema":1,"command_id":"'
const [PRINCIPAL, SALT, PREV_HASH, HASH, END] = [
  '","principal":"',
  '","salt":"',
  '","prev_hash":"',
  '","hash":"',
  '"}',
]

/** By the code of a character: 1 where it may be in such a text. */
const allowed = (characters: string): Uint8Array => {
  const table = new Uint8Array(256)
  for (const character of characters) table[character.charCodeAt(0)] = 1
  return table
}
const WORD = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-'
const IN_HEX = allowed('0123456789abcdef')
const IN_ID = allowed(WORD)
const IN_NAME = allowed(`${WORD} .@`)

const encoder = new TextEncoder()
const bytes = new Uint8Array(1024)

/**
 * What the text holds if it is written exactly like that, with nothing in it that JSON could write in another way;
 * null for any other text. A regular expression for the same takes nearly twice as long, `JSON.parse` and zod longer still.
 */
export function plainMetadata(text: string): PlainMetadata | null {
  if (text.length > bytes.length || encoder.encodeInto(text, bytes).written !== text.length) {
    return null
  }
  const hash = text.length - END.length - HASH_LENGTH
  const prev_hash = hash - HASH.length - HASH_LENGTH
  const salt = prev_hash - PREV_HASH.length - SALT_LENGTH
  const author = salt - SALT.length
  const named =
    text.startsWith(BEGIN) &&
    text.startsWith(SALT, author) &&
    text.startsWith(PREV_HASH, prev_hash - PREV_HASH.length) &&
    text.startsWith(HASH, hash - HASH.length) &&
    text.endsWith(END)
  if (!named || !areAll(IN_HEX, hash, hash + HASH_LENGTH)) return null
  if (!areAll(IN_HEX, prev_hash, prev_hash + HASH_LENGTH)) return null
  if (!areAll(IN_HEX, salt, salt + SALT_LENGTH)) return null
  const id = text.indexOf('"', BEGIN.length)
  if (id === BEGIN.length || id > author || !areAll(IN_ID, BEGIN.length, id)) return null
  const rest = {
    salt: text.slice(salt, salt + SALT_LENGTH),
    prev_hash: text.slice(prev_hash, prev_hash + HASH_LENGTH),
    hash: text.slice(hash, hash + HASH_LENGTH),
  }
  const command_id = text.slice(BEGIN.length, id)
  if (id === author) return { schema: 1, command_id, ...rest }
  const name = id + PRINCIPAL.length
  if (!text.startsWith(PRINCIPAL, id) || name >= author) return null
  if (!areAll(IN_NAME, name, author)) return null
  return { schema: 1, command_id, principal: text.slice(name, author), ...rest }
}

function areAll(table: Uint8Array, from: number, to: number): boolean {
  let all = 1
  for (let at = from; at < to; at += 1) all &= table[bytes[at] ?? 0] ?? 0
  return all === 1
}
