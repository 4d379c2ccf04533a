import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { type PublishedKey, PublishedKeys } from '../api/audit.ts'
import { messageOf } from '../lib/message-of.ts'
import { writeDurably } from '../lib/write-durably.ts'
import type { Signer, Signing } from '../log/chain.ts'
import { canonicalText } from '../log/commitment.ts'
import { fingerprintOf, knownKeys, type Sealed } from './public-keys.ts'

/** The keys cannot be read or written; the message names the file. */
export type KeyringFailure = { readonly type: 'keyring_failed'; readonly message: string }

export type Keys = {
  /** The key in use. */
  readonly signer: Signer
  /** Retired keys that witnesses may know instead, newest first. They sign nothing but notes of the log of checkpoints. */
  readonly retired: readonly Signer[]
  /** All public keys, newest first. */
  readonly published: PublishedKeys
}

/** A server's keys, in files. They are read each time, so a rotation needs no restart. */
export type Keyring = {
  load(): ResultAsync<Keys, KeyringFailure>
  /**
   * Makes a key and retires the one in use: its private part is removed, unless witnesses may not know the new key yet.
   * Its public part stays.
   */
  rotate(): ResultAsync<Keys, KeyringFailure>
  /** Whether a rotation leaves the private part of the retired key, because there are witnesses that know only that. */
  setWitnessed(isWitnessed: boolean): ResultAsync<void, KeyringFailure>
  /** Removes the private parts of all retired keys. */
  forgetRetired(): ResultAsync<void, KeyringFailure>
}

/**
 * Signs entries of ledgers with the key in use.
 * @param published whether others can find that key, as soon as it is known: without it, they cannot verify what it signs
 */
export const signingWith =
  (keyring: Pick<Keyring, 'load'>, published: Promise<boolean> = Promise.resolve(true)): Signing =>
  () =>
    ResultAsync.fromSafePromise<boolean, never>(published)
      .andThen((isPublished) => (isPublished ? keyring.load() : err(UNPUBLISHED)))
      .map(({ signer }) => signer)
      .mapErr(({ message }) => ({ type: 'store_failed', message }))

const UNPUBLISHED = {
  type: 'keyring_failed',
  message: 'the server stopped before it could publish its key in the log',
} as const

/** A statement before it is signed. */
type Unsigned<T extends Sealed> = Omit<T, 'key' | 'signature'>

export function seal<T extends Sealed>(statement: Unsigned<T>, { key, sign }: Signer): T {
  const unsigned = { ...statement, key }
  return { ...unsigned, signature: sign(canonicalText(unsigned)) } as unknown as T
}

class Unusable extends Error {}

/**
 * The keyring in the folder `dir`: `keyring.json` lists the public keys, `<fingerprint>.pem` is the private key in use.
 * Makes the first key if there is no key.
 */
export function openKeyring(dir: string, clock: () => Date): ResultAsync<Keyring, KeyringFailure> {
  const keyring: Keyring = {
    load: () => attempt(dir, () => load(dir)),
    rotate: () => attempt(dir, () => addKey(dir, clock)),
    setWitnessed: (isWitnessed) =>
      attempt(dir, async () => {
        if (isWitnessed) await writeFile(join(dir, WITNESSED), '')
        else await rm(join(dir, WITNESSED), { force: true })
      }),
    forgetRetired: () => attempt(dir, async () => removeRetired(dir, (await readList(dir)).keys)),
  }
  return attempt(dir, async () => (await isEmpty(dir)) && addKey(dir, clock))
    .andThen(() => keyring.load())
    .map(() => keyring)
}

/** The public keys in the folder of a keyring, none if it has none. Changes nothing, and needs no private key. */
export function readPublishedKeys(dir: string): ResultAsync<PublishedKeys, KeyringFailure> {
  return attempt(dir, async () => (existsSync(join(dir, LIST)) ? readList(dir) : { keys: [] }))
}

const LIST = 'keyring.json'
/** Is there while the server has witnesses: a rotation is made by another process, without its settings. */
const WITNESSED = 'witnessed'
const PRIVATE = '.pem'

function attempt<T>(dir: string, work: () => Promise<T>): ResultAsync<T, KeyringFailure> {
  return ResultAsync.fromPromise(work(), (cause) => {
    const reason = messageOf(cause)
    const message =
      cause instanceof Unusable ? reason : `The keys in ${dir} cannot be used: ${reason}`
    return { type: 'keyring_failed', message }
  })
}

/** Whether the folder has no keys; creates the folder if necessary. */
async function isEmpty(dir: string): Promise<boolean> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const names = await readdir(dir)
  if (names.includes(LIST)) return false
  const left = names.find((name) => name.endsWith(PRIVATE))
  if (left === undefined) return true
  throw new Unusable(
    `${join(dir, LIST)} is missing, but there is the private key ${join(dir, left)}: put the file back, or move the folder away to begin with a new key.`,
  )
}

async function load(dir: string): Promise<Keys> {
  const published = await readList(dir)
  const current = published.keys.find(({ retired }) => retired === null)
  if (current === undefined) throw new Unusable(`${join(dir, LIST)} lists no key that is in use.`)
  const signerFor = async ({ fingerprint }: PublishedKey) =>
    signerOf(fingerprint, await readPrivate(dir, fingerprint))
  const before = published.keys.filter(({ retired }) => retired !== null)
  // The private parts of most are gone.
  const retired = await Promise.all(before.map((key) => signerFor(key).catch(() => null)))
  const signer = await signerFor(current)
  return { signer, retired: retired.filter((each) => each !== null), published }
}

async function removeRetired(dir: string, keys: readonly PublishedKey[]): Promise<void> {
  for (const { fingerprint, retired } of keys) {
    if (retired !== null) await rm(join(dir, `${fingerprint}${PRIVATE}`), { force: true })
  }
}

async function readList(dir: string): Promise<PublishedKeys> {
  const file = join(dir, LIST)
  const text = await readFile(file, 'utf8')
  try {
    const published = PublishedKeys.parse(JSON.parse(text))
    knownKeys(published)
    return published
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)
    throw new Unusable(`${file} is not a list of keys: ${why}`)
  }
}

async function readPrivate(dir: string, fingerprint: string): Promise<KeyObject> {
  const file = join(dir, `${fingerprint}${PRIVATE}`)
  const { mode } = await stat(file)
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new Unusable(
      `The private key ${file} can be read by others. If nobody has: chmod 600 ${file}. If in doubt, rotate it.`,
    )
  }
  const text = await readFile(file)
  try {
    const key = createPrivateKey(text)
    if (fingerprintOf(createPublicKey(text)) === fingerprint) return key
  } catch (cause) {
    throw new Unusable(`${file} does not hold a private key: ${String(cause)}`)
  }
  throw new Unusable(`${file} holds another key than the one in its name.`)
}

const signerOf = (fingerprint: string, key: KeyObject): Signer => ({
  key: fingerprint,
  sign: (text) => sign(null, Buffer.from(text), key).toString('hex'),
})

async function addKey(dir: string, clock: () => Date): Promise<Keys> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const fingerprint = fingerprintOf(publicKey)
  const now = clock().toISOString()
  const before = (await isEmpty(dir)) ? [] : (await readList(dir)).keys
  const added: PublishedKey = {
    fingerprint,
    public_key: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    created: now,
    retired: null,
  }
  const keys = [added, ...before.map((key) => ({ ...key, retired: key.retired ?? now }))]
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  const file = join(dir, `${fingerprint}${PRIVATE}`)
  await writeFile(file, pem, { mode: 0o600, flag: 'wx', flush: true })
  await writeDurably(join(dir, LIST), `${JSON.stringify({ keys }, null, 2)}\n`)
  if (!existsSync(join(dir, WITNESSED))) await removeRetired(dir, keys)
  return load(dir)
}
