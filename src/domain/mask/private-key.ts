import type { Finder } from './finder.ts'
import { properPrefixes, startOfPrefix } from './prefixes.ts'

/** How a private key in PEM or OpenPGP armour begins. What follows decides whether it is one. */
const ARMOUR = '-----BEGIN '
const PREFIXES = properPrefixes([ARMOUR])
/** The longest first line of a private key, in characters. */
const LONGEST_HEADER_CHARS = 130

const LONGEST_KEY_CHARS = 20_000

const TYPE = '(?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----'
const HEADER = new RegExp(`${ARMOUR}${TYPE}`, 'y')
const FOOTER = new RegExp(`-----END ${TYPE}`)

/** Key material. Other text may come between its lines: names of files, the marks of a diff. */
const MATERIAL = /[A-Za-z0-9+/=]{32}/
/** What separates the lines of a key, also within strings of JSON or a program. */
const GAP = /(?:\s|\\{1,3}[nrt]|["',>|]){0,80}/y
const LINE = /[A-Za-z0-9+/=]{32,}|(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n\\"]{0,100}/y
const LAST_LINE = /[A-Za-z0-9+/=]{1,31}(?=$|[\r\n"'\\])/y

/** Finds private keys, complete or cut off. */
export const privateKeys: Finder = {
  find: (text, from) => {
    for (let at = text.indexOf(ARMOUR, from); at !== -1; at = text.indexOf(ARMOUR, at + 1)) {
      const end = privateKeyEnd(text, at)
      if (end !== null) return { start: at, end, kind: 'private-key' }
    }
    return null
  },
  // Every key but the last ends before the next one begins. Most texts have none, and indexOf sees that faster.
  undecided: (text, from) => {
    const at = text.indexOf(ARMOUR, from) === -1 ? -1 : text.lastIndexOf(ARMOUR)
    return at >= from && isOpen(text, at) ? at : startOfPrefix(text, from, PREFIXES)
  },
}

/** Whether a private key may begin at `at` and its end may still come. */
function isOpen(text: string, at: number): boolean {
  if (text.length >= at + LONGEST_KEY_CHARS) return false
  HEADER.lastIndex = at
  if (HEADER.test(text)) return !FOOTER.test(text.slice(HEADER.lastIndex))
  const line = text.slice(at, at + LONGEST_HEADER_CHARS)
  return line.length < LONGEST_HEADER_CHARS && !line.includes('\n')
}

/**
 * Where the private key ends that begins at `at`: after its last line or, if that is missing, as in the head of a file,
 * after the key material. Null without key material: the first line of a key alone is not a secret.
 */
function privateKeyEnd(text: string, at: number): number | null {
  HEADER.lastIndex = at
  if (!HEADER.test(text)) return null
  const start = HEADER.lastIndex
  const rest = text.slice(start, at + LONGEST_KEY_CHARS)
  const next = rest.indexOf(ARMOUR)
  const body = next === -1 ? rest : rest.slice(0, next)
  const footer = FOOTER.exec(body)
  if (footer !== null && MATERIAL.test(body.slice(0, footer.index))) {
    return start + footer.index + footer[0].length
  }
  const length = materialLength(body)
  return length === 0 ? null : start + length
}

function materialLength(body: string): number {
  let length = 0
  for (;;) {
    const line = skip(GAP, body, length) ?? length
    const end = skip(LINE, body, line)
    if (end === null) return length === 0 ? 0 : (skip(LAST_LINE, body, line) ?? length)
    length = end
  }
}

function skip(what: RegExp, text: string, at: number): number | null {
  what.lastIndex = at
  return what.test(text) ? what.lastIndex : null
}
