import type { Finder } from './finder.ts'
import { literally, properPrefixes, startOfPrefix } from './prefixes.ts'

/** A secret of this server, under the name of the setting that it comes from. */
export type OwnSecret = { readonly name: string; readonly value: string }

/** A shorter secret may be an ordinary word: masking it would spoil every text. */
export const SHORTEST_SECRET = 8

/**
 * One way to write a secret. In Base64, the characters right before and right after it can also hold bits of the
 * secret: `before` and `after` say whether they do.
 */
type Form = {
  readonly name: string
  readonly text: string
  readonly before: boolean
  readonly after: boolean
}

/** Finds secrets by their value: as it is, in JSON, in a URL, in Base64 and in hex. */
export function ownSecrets(secrets: readonly OwnSecret[]): Finder {
  const forms = new Map<string, Form>()
  for (const form of secrets.flatMap(formsOf)) {
    if (!forms.has(form.text)) forms.set(form.text, form)
  }
  if (forms.size === 0) return NOTHING
  const texts = [...forms.keys()].sort((a, b) => b.length - a.length)
  const any = new RegExp(texts.map(literally).join('|'), 'g')
  const prefixes = properPrefixes(texts.map((text) => `${text}\0`))
  return {
    find: (text, from, edge) => {
      any.lastIndex = from
      const hit = any.exec(text)
      const form = hit === null ? undefined : forms.get(hit[0])
      if (hit === null || form === undefined) return null
      const before = form.before && hit.index > from && isShared(text, hit.index - 1, edge)
      const end = hit.index + form.text.length
      const after = form.after && BASE64.test(text.charAt(end))
      return { start: hit.index - Number(before), end: end + Number(after), kind: form.name }
    },
    undecided: (text, from) => {
      // No form holds a line break, and most pieces of text end with one.
      if (text.endsWith('\n')) return text.length
      const start = startOfPrefix(text, from, prefixes)
      return start > from && isShared(text, start - 1, 0) ? start - 1 : start
    },
  }
}

const NOTHING: Finder = { find: () => null, undecided: (text) => text.length }

const BASE64 = /[A-Za-z0-9+/_-]/

/** Whether a Base64 character may hold the end of the text before a secret and also the beginning of the secret. */
function isShared(text: string, at: number, edge: number): boolean {
  return at > edge && BASE64.test(text.charAt(at - 1)) && BASE64.test(text.charAt(at))
}

function formsOf({ name, value }: OwnSecret): Form[] {
  const lines = value.split(/\r?\n/).filter((line) => line.length >= SHORTEST_SECRET)
  return lines.flatMap((line) => {
    const bytes = new TextEncoder().encode(line)
    const whole = [line, JSON.stringify(line).slice(1, -1), encodeURIComponent(line), hex(bytes)]
    return [
      ...whole.map((text) => ({ name, text, before: false, after: false })),
      ...[0, 1, 2].flatMap((offset) => base64Forms(name, bytes, offset)),
    ]
  })
}

const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')

/** The Base64 characters that depend only on the secret, if it begins at byte `offset` mod 3. */
function base64Forms(name: string, bytes: Uint8Array, offset: number): Form[] {
  const padded = String.fromCharCode(...new Array(offset).fill(0), ...bytes)
  const bits = 8 * (offset + bytes.length)
  const first = Math.ceil((8 * offset) / 6)
  const last = Math.floor(bits / 6)
  const standard = btoa(padded).slice(first, last)
  const forUrls = standard.replaceAll('+', '-').replaceAll('/', '_')
  return [standard, forUrls].map((text) => {
    return { name, text, before: offset > 0, after: bits % 6 > 0 }
  })
}
