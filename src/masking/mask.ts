import { wordSet } from '../lib/text.ts'
import {
  type Finder,
  literally,
  MaskingStream,
  maskAll,
  maskOf,
  type Prefixes,
  properPrefixes,
  startOfPrefix,
} from './finder.ts'
import { KINDS, knownShapes, privateKeys } from './known-shapes.ts'

/** A secret of this server, under the name of the setting that it comes from. */
export type OwnSecret = { readonly name: string; readonly value: string }

/** A shorter secret may be an ordinary word: masking it would spoil every text. */
const SHORTEST_SECRET = 8

/** A text that comes in pieces. The result does not depend on where the text is cut. */
type MaskedText = Pick<MaskingStream, 'heldChars' | 'write' | 'end' | 'cut'>

/** Replaces secrets by `[masked:<kind>]`: those with a known shape and the server's own. Pure and idempotent. */
export type Mask = {
  text(text: string): string
  /** Like `text`, but the result has as many lines: empty ones after the mask of a secret of several lines. */
  lines(text: string): string
  pieces(): MaskedText
}

/** Makes a mask for these secrets and for all that have a known shape. */
export function createMask(secrets: readonly OwnSecret[]): Mask {
  // One finder after the other, the most certain first: a shape may overlap a secret of another sort and
  // would leave a part of it.
  const own = ownSecrets(secrets.filter((secret) => canBeMasked(secret, secrets)))
  const finders = [own, privateKeys, knownShapes]
  return {
    text: (text) => finders.reduce((masked, finder) => maskAll(finder, masked), text),
    lines: (text) => finders.reduce((masked, finder) => maskAll(finder, masked, true), text),
    pieces: () => inPieces(finders.map((finder) => new MaskingStream(finder))),
  }
}

function inPieces(streams: readonly MaskingStream[]): MaskedText {
  return {
    get heldChars() {
      return streams.reduce((chars, stream) => chars + stream.heldChars, 0)
    },
    write: (piece) => streams.reduce((text, stream) => stream.write(text), piece),
    end: () => streams.reduce((text, stream) => stream.write(text) + stream.end(), ''),
    cut: () => streams.reduce((text, stream) => stream.write(text) + stream.cut(), ''),
  }
}

/** Whether a secret of the server is too long to be an ordinary word, and not a part of a mask. */
export function canBeMasked({ value }: OwnSecret, all: readonly OwnSecret[]): boolean {
  if (value.length < SHORTEST_SECRET) return false
  return ![...KINDS, ...all.map(({ name }) => name)].some((kind) => maskOf(kind).includes(value))
}

/**
 * Properties of records whose strings the server itself writes: ids, hashes and words of a fixed set. No known shape
 * fits them, but a key of the server might be such a word.
 */
const OWN_PROPERTIES = wordSet(`
  node outcome verdict decision status role claimant hash sha256 request_sha256 tree commit
  commitment salt why change as_is original_checks accept dependencies rejected
`)
/** Models, providers and MCP servers write any JSON in these properties, so names in it can be secrets too. */
const FREE_PROPERTIES: ReadonlySet<string> = new Set(['args', 'items', 'input_schema'])

/**
 * The payload of a record with all its strings masked; the same object if there is nothing to mask. Property names are
 * masked only where models and providers write them: elsewhere a schema fixes them.
 */
export function maskPayload<P extends object>(payload: P, mask: (text: string) => string): P {
  return withMasked(payload, mask, false) as P
}

function withMasked(value: unknown, mask: (text: string) => string, free: boolean): unknown {
  if (typeof value === 'string') return mask(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = value.map((item) => withMasked(item, mask, free))
    return items.every((item, index) => item === value[index]) ? value : items
  }
  const masked = new Map<string, unknown>()
  let changed = false
  for (const [name, item] of Object.entries(value)) {
    const isOwn = !free && typeof item === 'string' && OWN_PROPERTIES.has(name)
    const maskedName = free ? unusedName(mask(name), masked) : name
    const maskedItem = isOwn ? item : withMasked(item, mask, free || FREE_PROPERTIES.has(name))
    changed ||= maskedName !== name || maskedItem !== item
    masked.set(maskedName, maskedItem)
  }
  return changed ? Object.fromEntries(masked) : value
}

/** Keeps two names apart that have the same mask. */
function unusedName(name: string, used: ReadonlyMap<string, unknown>): string {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? name : `${name} ${number}`
    if (!used.has(candidate)) return candidate
  }
}

/**
 * One way to write a secret. In Base64, the characters right before and right after it can also hold bits of the
 * secret: `before` and `after` say whether they do.
 */
type Form = {
  readonly name: string
  readonly text: string
  readonly before: boolean
  readonly after: boolean
  readonly isBase64?: true
}

/** Finds secrets by their value: as it is, in JSON, in a URL, in hex, and in Base64, also in several lines. */
function ownSecrets(secrets: readonly OwnSecret[]): Finder {
  const forms = new Map<string, Form>()
  for (const form of secrets.flatMap(formsOf)) {
    if (!forms.has(form.text)) forms.set(form.text, form)
  }
  if (forms.size === 0) return NOTHING
  const texts = [...forms.keys()].sort((a, b) => b.length - a.length)
  const ofForm = (text: string): string =>
    forms.get(text)?.isBase64 ? [...text].map(literally).join('(?:\\r?\\n)?') : literally(text)
  const any = new RegExp(texts.map(ofForm).join('|'), 'g')
  const prefixes = properPrefixes(texts.map((text) => `${text}\0`))
  return {
    find: (text, from, edge) => {
      any.lastIndex = from
      for (let hit = any.exec(text); hit !== null; hit = any.exec(text)) {
        const [found] = hit
        const form = forms.get(found.replace(LINE_BREAKS, ''))
        any.lastIndex = hit.index + 1
        if (form === undefined || !isInLines(text, hit, edge)) continue
        const before = form.before && hit.index > from && isShared(text, hit.index - 1, edge)
        const end = hit.index + found.length
        const after = form.after && BASE64.test(text.charAt(end))
        return { start: hit.index - Number(before), end: end + Number(after), kind: form.name }
      }
      return null
    },
    undecided: (text, from) => {
      // Only Base64 continues after a line break, and most pieces of text end with one.
      const onLine = text.endsWith('\n') ? text.length : startOfPrefix(text, from, prefixes)
      const start = Math.min(onLine, startInLines(text, from, prefixes))
      return start > from && isShared(text, start - 1, 0) ? start - 1 : start
    },
  }
}

const NOTHING: Finder = { find: () => null, undecided: (text) => text.length }

const BASE64 = /[A-Za-z0-9+/_-]/

const LINE_BREAKS = /\r?\n/g
/** Base64 continues after a line of at least as many of its characters: programs write 64 or 76. */
const SHORTEST_LINE = 60
const LINE = new RegExp(`^[A-Za-z0-9+/_-]{${SHORTEST_LINE}}$`)

const isLineOfBase64 = (text: string, end: number, edge: number): boolean =>
  end - edge >= SHORTEST_LINE && LINE.test(text.slice(end - SHORTEST_LINE, end))

/** Whether every line break in a hit is one of Base64 in lines. */
const isInLines = (text: string, { 0: found, index }: RegExpExecArray, edge: number): boolean =>
  [...found.matchAll(LINE_BREAKS)].every((one) => isLineOfBase64(text, index + one.index, edge))

/** Where the longest beginning of a secret in lines of Base64 begins that ends the text, or its length. */
function startInLines(text: string, from: number, prefixes: Prefixes): number {
  const places: number[] = []
  let tail = ''
  for (let at = text.length - 1; at >= from && places.length < prefixes.longest; at -= 1) {
    const char = text.charAt(at)
    if (char === '\n' || char === '\r') {
      const end = char === '\n' && text.charAt(at - 1) === '\r' ? at - 1 : at
      if (!isLineOfBase64(text, end, 0)) break
      at = end
    } else {
      if (!BASE64.test(char)) break
      tail = char + tail
      places.unshift(at)
    }
  }
  return places[startOfPrefix(tail, 0, prefixes)] ?? text.length
}

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
    return { name, text, before: offset > 0, after: bits % 6 > 0, isBase64: true }
  })
}
