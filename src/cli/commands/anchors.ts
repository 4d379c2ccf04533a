import { readFile } from 'node:fs/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKeys } from '../../api/audit.ts'
import {
  hasAnchors,
  isTrusted,
  type KnownKeys,
  knownKeys,
  type TrustAnchors,
} from '../../audit/proofs/public-keys.ts'
import type { Trust } from '../../audit/verify/report.ts'
import { firstIssueOf } from '../../lib/first-issue-of.ts'
import { messageOf } from '../../lib/message-of.ts'

export type AnchorOptions = {
  readonly fingerprint?: readonly string[]
  readonly keys?: string
}

/** The options that name the keys that a reader trusts. */
export function withAnchors(command: Command): Command {
  return command
    .option(
      '--fingerprint <hex>',
      'the fingerprint of a key that you trust; may be repeated',
      collect,
    )
    .option('--keys <file>', 'keys that you trust: an answer to GET /api/keys')
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  const fingerprint = text.toLowerCase().replaceAll(':', '')
  if (/^[0-9a-f]{64}$/.test(fingerprint)) return [...before, fingerprint]
  throw new InvalidArgumentError('A fingerprint has 64 hex digits.')
}

export async function readAnchors({
  fingerprint = [],
  keys,
}: AnchorOptions): Promise<Result<TrustAnchors, string>> {
  const fingerprints = new Set(fingerprint)
  if (keys === undefined) return ok({ keys: new Map(), fingerprints })
  return (await readKeys(keys)).map((known) => ({ keys: known, fingerprints }))
}

async function readKeys(file: string): Promise<Result<KnownKeys, string>> {
  const wrong = (why: string) =>
    err(`${file} holds no keys as in an answer to GET /api/keys: ${why}`)
  try {
    const keys = knownKeys(PublishedKeys.parse(JSON.parse(await readFile(file, 'utf8'))))
    // Otherwise, it would be as if no keys were named.
    return keys.size === 0 ? wrong('its list is empty') : ok(keys)
  } catch (cause) {
    return wrong(reasonOf(cause))
  }
}

function reasonOf(cause: unknown): string {
  if (cause instanceof SyntaxError) return 'it is not JSON'
  return cause instanceof z.ZodError ? firstIssueOf(cause) : messageOf(cause)
}

/** A checkpoint that a reader has kept; null if there is no file. */
export async function readKept(
  file: string | undefined,
): Promise<Result<Checkpoint | null, string>> {
  if (file === undefined) return ok(null)
  try {
    return ok(Checkpoint.parse(JSON.parse(await readFile(file, 'utf8'))))
  } catch (cause) {
    return err(
      `${file} is not a checkpoint as in an answer to GET /api/checkpoints/latest: ${reasonOf(cause)}`,
    )
  }
}

/** Whether the reader trusts all these signers. @param signers fingerprints */
export function trustOf(anchors: TrustAnchors, signers: readonly string[]): Trust {
  if (!hasAnchors(anchors) || signers.length === 0) return 'not_compared'
  return signers.every((key) => isTrusted(anchors, key)) ? 'trusted' : 'not_trusted'
}
