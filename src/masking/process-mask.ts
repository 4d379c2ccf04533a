import { isUtf8 } from 'node:buffer'
import { shownPath } from '../lib/git-objects.ts'
import { canBeMasked, createMask, type Mask, type OwnSecret } from './mask.ts'

let secrets: readonly OwnSecret[] = []
let mask = createMask(secrets)

/**
 * Adds secrets that this process holds to those that it masks, in all that it writes from now on. They belong to the
 * whole process, like its environment, so that no writer of records can miss them.
 * @returns the names of the secrets that cannot be masked: a secret that is short like a word would spoil every text
 */
export function guardSecrets(added: readonly OwnSecret[]): string[] {
  const known = new Set(secrets.map(({ value }) => value))
  secrets = [...secrets, ...added.filter(({ value }) => !known.has(value))]
  mask = createMask(secrets)
  return added.filter((secret) => !canBeMasked(secret, secrets)).map(({ name }) => name)
}

/** Masks all that this process keeps or logs. Records are masked when they are encoded. */
export const processMask: Mask = {
  text: (text) => mask.text(text),
  lines: (text) => mask.lines(text),
  pieces: () => mask.pieces(),
}

/** The path of a file, as trees have it, as it may be shown: with its secrets masked. */
export const maskedPath = (bytes: string): string => processMask.text(shownPath(bytes))

/** The content of a file with its secrets masked, as it may be shown: the same object if it has none. */
export function maskedContent(content: Buffer): Buffer {
  const encoding = isUtf8(content) ? 'utf8' : 'latin1'
  const text = content.toString(encoding)
  const masked = processMask.text(text)
  return masked === text ? content : Buffer.from(masked, encoding)
}
