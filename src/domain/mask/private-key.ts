import type { Finder } from './finder.ts'
import { properPrefixes, startOfPrefix } from './prefixes.ts'

/** How a private key in PEM or OpenPGP armour begins; what comes behind this decides. */
const ARMOUR = '-----BEGIN '
const PREFIXES = properPrefixes([ARMOUR])
/** No first line of one is longer. */
const LONGEST_HEADER = 130

/** How far behind its beginning a private key ends at the latest, in characters. */
const LONGEST_KEY = 20_000

const TYPE = '(?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----'
const HEADER = new RegExp(`${ARMOUR}${TYPE}`, 'y')
const FOOTER = new RegExp(`-----END ${TYPE}`)

/** Key material, whatever stands between its lines: the names of files, the marks of a diff. */
const MATERIAL = /[A-Za-z0-9+/=]{32}/
/** Lines of a key as they come one behind the other, also within strings of JSON or a program. */
const GAP = /(?:\s|\\{1,3}[nrt]|["',>|]){0,80}/y
const LINE = /[A-Za-z0-9+/=]{32,}|(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n\\"]{0,100}/y
const LAST_LINE = /[A-Za-z0-9+/=]{1,31}(?=$|[\r\n"'\\])/y

/** Finds private keys, whole ones and their beginnings. */
export const privateKeys: Finder = {
  find: (text, from) => {
    for (let at = text.indexOf(ARMOUR, from); at !== -1; at = text.indexOf(ARMOUR, at + 1)) {
      const end = privateKeyEnd(text, at)
      if (end !== null) return { start: at, end, kind: 'private-key' }
    }
    return null
  },
  // All but the last one end where the next one begins, at the latest.
  undecided: (text, from) => {
    const at = text.lastIndexOf(ARMOUR)
    return at >= from && isOpen(text, at) ? at : startOfPrefix(text, from, PREFIXES)
  },
}

/** Whether a private key may begin at `at` whose end has not come yet, though it still may. */
function isOpen(text: string, at: number): boolean {
  if (text.length >= at + LONGEST_KEY) return false
  HEADER.lastIndex = at
  if (HEADER.test(text)) return !FOOTER.test(text.slice(HEADER.lastIndex))
  const line = text.slice(at, at + LONGEST_HEADER)
  return line.length < LONGEST_HEADER && !line.includes('\n')
}

/**
 * Where the private key ends that begins at `at`: behind its last line or, where that does not come, as
 * in the head of a file, behind the key material. Null where there is none: a key's first line alone
 * is no secret.
 */
function privateKeyEnd(text: string, at: number): number | null {
  HEADER.lastIndex = at
  if (!HEADER.test(text)) return null
  const start = HEADER.lastIndex
  const behind = text.slice(start, at + LONGEST_KEY)
  const next = behind.indexOf(ARMOUR)
  const body = next === -1 ? behind : behind.slice(0, next)
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
