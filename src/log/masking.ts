import { canBeMasked, createMask, type Mask } from '../domain/mask/mask.ts'
import type { OwnSecret } from '../domain/mask/own-secrets.ts'

let secrets: readonly OwnSecret[] = []
let mask = createMask(secrets)

/**
 * Names secrets that this process holds, for all that it writes from now on; they are added to those
 * that are known. This belongs to the process, as its environment does, and not to a part of it: so no
 * writer of records can be without it. Answers the names of those that cannot be masked: a secret
 * that is as short as a word would spoil every text.
 */
export function guardSecrets(added: readonly OwnSecret[]): string[] {
  const known = new Set(secrets.map(({ value }) => value))
  secrets = [...secrets, ...added.filter(({ value }) => !known.has(value))]
  mask = createMask(secrets)
  return added.filter((secret) => !canBeMasked(secret, secrets)).map(({ name }) => name)
}

/** What masks all that this process keeps or logs. Records are masked when they are encoded. */
export const processMask: Mask = {
  text: (text) => mask.text(text),
  pieces: () => mask.pieces(),
}
