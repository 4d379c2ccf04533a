import { readFile } from 'node:fs/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { Checkpoint, PublishedKeys } from '../../api/audit.ts'
import { type KnownKeys, knownKeys } from '../../audit/proofs/public-keys.ts'
import type { TrustAnchors } from '../../audit/proofs/trust-anchors.ts'
import { messageOf } from '../../lib/message-of.ts'

export type AnchorOptions = {
  readonly fingerprint: readonly string[]
  readonly keys?: string
}

/** The options by which a reader says whose signatures are good. */
export function withAnchors(command: Command): Command {
  return command
    .option(
      '--fingerprint <hex>',
      'a key that you trust, by its fingerprint; may be given again',
      collect,
      [],
    )
    .option('--keys <file>', 'keys that you trust: what GET /api/keys has answered')
}

function collect(text: string, before: readonly string[]): readonly string[] {
  const fingerprint = text.toLowerCase().replaceAll(':', '')
  if (/^[0-9a-f]{64}$/.test(fingerprint)) return [...before, fingerprint]
  throw new InvalidArgumentError('A fingerprint has 64 hex digits.')
}

export async function readAnchors({
  fingerprint,
  keys,
}: AnchorOptions): Promise<Result<TrustAnchors, string>> {
  const fingerprints = new Set(fingerprint)
  if (keys === undefined) return ok({ keys: new Map(), fingerprints })
  return (await readKeys(keys)).map((known) => ({ keys: known, fingerprints }))
}

async function readKeys(file: string): Promise<Result<KnownKeys, string>> {
  try {
    return ok(knownKeys(PublishedKeys.parse(JSON.parse(await readFile(file, 'utf8')))))
  } catch (cause) {
    return err(`${file} holds no keys: ${messageOf(cause)}`)
  }
}

/** A checkpoint that somebody has kept; null where none was given. */
export async function readKept(
  file: string | undefined,
): Promise<Result<Checkpoint | null, string>> {
  if (file === undefined) return ok(null)
  try {
    return ok(Checkpoint.parse(JSON.parse(await readFile(file, 'utf8'))))
  } catch (cause) {
    const reason = messageOf(cause)
    return err(`${file} is no checkpoint, as GET /api/checkpoints/latest answers one: ${reason}`)
  }
}
