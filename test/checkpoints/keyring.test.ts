import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { openKeyring, signingWith } from '../../src/checkpoints/keyring.ts'
import { hasSigned, knownKeys } from '../../src/checkpoints/public-keys.ts'
import { testFolder } from '../store/embedded/support.ts'

let dir: string
let now: Date

beforeEach(async () => {
  dir = join(await testFolder(), 'keys')
  now = new Date('2026-02-18T12:00:00.000Z')
})

const open = async () => (await openKeyring(dir, () => now))._unsafeUnwrap()
const load = async () => (await (await open()).load())._unsafeUnwrap()
const privateFile = async () => {
  const names = await readdir(dir)
  return join(dir, names.find((name) => name.endsWith('.pem')) ?? 'none')
}

test('the first start makes a key that only its owner can read, and later starts find it', async () => {
  const first = await load()
  expect((await stat(dir)).mode & 0o777).toBe(0o700)
  for (const name of await readdir(dir)) {
    expect((await stat(join(dir, name))).mode & 0o777).toBe(0o600)
  }
  expect((await load()).published).toEqual(first.published)
  expect(first.published.keys).toEqual([
    expect.objectContaining({
      fingerprint: first.signer.key,
      created: now.toISOString(),
      retired: null,
    }),
  ])
})

const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()

test.each<[string, (pem: string, privatePem: string) => string]>([
  ['of X25519', () => pemOf(generateKeyPairSync('x25519').publicKey)],
  ['of RSA', () => pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)],
  ['that is private', (_, privatePem) => privatePem],
  ['with other line breaks', (pem) => pem.replaceAll('\n', '\r\n')],
  ['with words before it', (pem) => `The key:\n${pem}`],
  ['with other bits after it', (pem) => pem.replace(/.=\n/, 'B=\n')],
  ['that is no key', () => 'a key'],
])('a key %s is refused, and named', async (_name, change) => {
  const { published, signer } = await load()
  const [key] = published.keys
  if (key === undefined) throw new Error('there is a key')
  expect(knownKeys(published).has(signer.key)).toBe(true)
  const privatePem = await readFile(await privateFile(), 'utf8')
  const public_key = change(key.public_key, privatePem)
  expect(public_key).not.toBe(key.public_key)
  expect(() => knownKeys({ keys: [{ ...key, public_key }] })).toThrow(
    `the key that is listed as ${signer.key} is not an Ed25519 key in PEM`,
  )
})

test('a rotation keeps the old public key, removes its private part, and needs no restart', async () => {
  const keyring = await open()
  const before = (await keyring.load())._unsafeUnwrap()
  const oldFile = await privateFile()
  const signature = before.signer.sign('said before')
  now = new Date('2026-03-01T00:00:00.000Z')
  // Another process rotates.
  ;(await (await open()).rotate())._unsafeUnwrap()
  const after = (await keyring.load())._unsafeUnwrap()
  expect(after.signer.key).not.toBe(before.signer.key)
  expect(after.published.keys.map(({ fingerprint, retired }) => [fingerprint, retired])).toEqual([
    [after.signer.key, null],
    [before.signer.key, now.toISOString()],
  ])
  await expect(stat(oldFile)).rejects.toThrow('ENOENT')
  expect(await privateFile()).toContain(after.signer.key)
  const old = knownKeys(after.published).get(before.signer.key)
  expect(old && hasSigned(old, 'said before', signature)).toBe(true)
  expect(old && hasSigned(old, 'said later', signature)).toBe(false)
})

test('every problem names the file', async () => {
  await load()
  const file = await privateFile()
  const list = join(dir, 'keyring.json')
  const problem = async () => (await openKeyring(dir, () => now))._unsafeUnwrapErr().message

  await chmod(file, 0o644)
  expect(await problem()).toContain(`chmod 600 ${file}`)
  await chmod(file, 0o600)

  const good = await readFile(file)
  await writeFile(file, 'no key')
  expect(await problem()).toContain(file)
  await writeFile(file, good)

  const listed = await readFile(list)
  for (const bad of ['{}', String(listed).replace('MCow', 'MCox')]) {
    await writeFile(list, bad)
    expect(await problem()).toContain(`${list} is not a list of keys: `)
  }
  await rm(list)
  expect(await problem()).toContain(list)
  await writeFile(list, listed)

  await rm(file)
  expect(await problem()).toContain(file)
})

test('nothing is signed with a key that the server could not publish', async () => {
  const keyring = await open()
  const message = 'the server stopped before it could publish its key in the log'
  const unpublished = await signingWith(keyring, Promise.resolve(false))()
  expect(unpublished._unsafeUnwrapErr()).toEqual({ type: 'store_failed', message })
  const published = await signingWith(keyring, Promise.resolve(true))()
  expect(published._unsafeUnwrap().key).toBe((await load()).signer.key)
})
