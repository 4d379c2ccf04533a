import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Auth, type AuthDeps } from '../../src/auth/auth.ts'
import { digestOf, openKeptTokens, TOKEN_LEDGER } from '../../src/auth/token-ledger.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { testFolder } from '../store/embedded/support.ts'
import { memoryStore } from '../support/memory-store.ts'
import { bound } from '../support/server.ts'
import { newSigning } from '../support/signing.ts'

const { sign } = newSigning()

let store: EventStore
let offset: number
beforeEach(() => {
  offset = 0
  store = memoryStore()
})
afterEach(() => store.close())

const PATIENCE = 20_000
const clock = () => Date.now() / 1000 + offset
const errors: string[] = []
const log = { warn: () => {}, error: (_: object, message: string) => errors.push(message) }

/** As a server opens it; closed after the test. */
async function open(changes: Partial<AuthDeps> = {}): Promise<Auth> {
  const auth = new Auth({ store, sign, configured: null, clock, log, ...changes })
  onTestFinished(() => auth.close())
  return auth
}
async function opened(changes: Partial<AuthDeps> = {}): Promise<Auth> {
  const auth = await open(changes)
  expect(await auth.read(PATIENCE)).toBe(true)
  return auth
}
const make = async (
  auth: Auth,
  name: string,
  role: 'admin' | 'viewer' = 'admin',
  expiresIn: number | null = null,
) => (await auth.create({ name, role, expiresIn }, 'local'))._unsafeUnwrap()
const rejection = (auth: Auth, secret?: string) => auth.authenticate(secret)._unsafeUnwrapErr()

describe('a log without tokens', () => {
  test('accepts every client as local, until the first token is created', async () => {
    const auth = await opened()
    expect(auth.guarded).toBe(false)
    const caller = auth.authenticate(undefined)._unsafeUnwrap()
    expect([caller.principal, caller.role]).toEqual(['local', 'admin'])
    expect(auth.authenticate('anything').isOk()).toBe(true)
    await make(auth, 'root')
    expect(auth.guarded).toBe(true)
    expect(caller.lifetime.ended).toBe(true)
    expect(rejection(auth).type).toBe('unauthenticated')
  })

  test('accepts only the token from the configuration if there is one', async () => {
    const auth = await opened({ configured: 'configured-0123456789' })
    expect(auth.guarded).toBe(true)
    expect(rejection(auth).type).toBe('unauthenticated')
    expect(rejection(auth, 'configured').type).toBe('unauthenticated')
    const caller = auth.authenticate('configured-0123456789')._unsafeUnwrap()
    expect([caller.principal, caller.role]).toEqual(['token', 'admin'])
  })
})

test('a token of the ledger keeps its role even if the configuration has it too', async () => {
  const before = await opened()
  await make(before, 'root')
  const { secret } = await make(before, 'ada', 'viewer')
  const auth = await opened({ configured: secret })
  expect(auth.authenticate(secret)._unsafeUnwrap()).toMatchObject({
    principal: 'ada',
    role: 'viewer',
  })
})

describe('a token', () => {
  test('has a secret that is stored nowhere', async () => {
    const auth = await opened()
    const { token, secret } = await make(auth, 'root')
    expect(secret).toMatch(/^retrai_[\w-]{43}$/)
    expect((await make(auth, 'other')).secret).not.toBe(secret)
    const options = { from: 0, direction: 'forward', limit: 10 } as const
    const stored = (await store.readStream(TOKEN_LEDGER.stream, options))._unsafeUnwrap()
    const text = JSON.stringify(stored)
    expect(text).not.toContain(secret.slice(7))
    expect(text).toContain(digestOf(secret))
    expect(JSON.parse(stored[0]?.metadata ?? '')).toMatchObject({ principal: 'local' })
    expect(auth.authenticate(secret)._unsafeUnwrap()).toMatchObject({
      principal: 'root',
      role: 'admin',
    })
    for (const guess of [secret.slice(0, -1), `${secret}x`, token.sha256, token.id, 'root', '']) {
      expect(rejection(auth, guess)).toEqual({
        type: 'unauthenticated',
        detail: 'This server knows no such token.',
      })
    }
  })

  test('is valid on all servers of the log until it is revoked on one', async () => {
    const one = await opened()
    const two = await opened()
    await make(one, 'root')
    const { token, secret } = await make(one, 'ada', 'viewer')
    await expect.poll(() => two.authenticate(secret).isOk()).toBe(true)
    const { lifetime } = two.authenticate(secret)._unsafeUnwrap()
    const ended = new Promise<void>((resolve) => lifetime.onEnd(resolve))
    const revoked = (await one.revoke(token.id, 'lost', 'root'))._unsafeUnwrap()
    expect(revoked.revoked).toMatchObject({ by: 'root', reason: 'lost' })
    const why = { type: 'unauthenticated', detail: 'The token "ada" was revoked.' }
    expect(rejection(one, secret)).toEqual(why)
    await ended
    expect(rejection(two, secret)).toEqual(why)
    expect(two.tokens().map(({ name }) => name)).toEqual(['root', 'ada'])
  })

  test('is valid until it expires, and what it opened ends a second later at the latest, even if the clock was set', async () => {
    const auth = await opened()
    await make(auth, 'root')
    const { secret } = await make(auth, 'ada', 'viewer', 86_400)
    const { lifetime } = auth.authenticate(secret)._unsafeUnwrap()
    const ended = new Promise<void>((resolve) => lifetime.onEnd(resolve))
    expect(lifetime.ended).toBe(false)
    offset = 86_401
    expect(lifetime.ended).toBe(true)
    expect(rejection(auth, secret).type).toBe('unauthenticated')
    await ended
  })

  test('of the last admin cannot be revoked, even if two are revoked at once', async () => {
    const one = await opened()
    const two = await opened()
    const tokens = [(await make(one, 'ada')).token, (await make(one, 'bob')).token]
    const revoked = await Promise.all([
      one.revoke(tokens[0]?.id ?? '', null, 'ada'),
      two.revoke(tokens[1]?.id ?? '', null, 'bob'),
    ])
    expect(revoked.map((each) => each.isOk()).sort()).toEqual([false, true])
  })
})

describe('a log that cannot be read', () => {
  /** A store that is away, as a server sees it that has just been started. */
  const away = (): EventStore => ({
    ...bound(store),
    subscribeStream: async function* (_stream, { signal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  })

  test('rejects every client without the token from the configuration', async () => {
    const unread = await open({ store: away() })
    expect(await unread.read(10)).toBe(false)
    expect(unread.guarded).toBe(false)
    for (const secret of [undefined, 'a-secret']) {
      expect(rejection(unread, secret)).toEqual({ type: 'tokens_unread' })
    }
    const configured = await open({ store: away(), configured: 'configured-0123456789' })
    expect(configured.authenticate('configured-0123456789').isOk()).toBe(true)
    expect(rejection(configured).type).toBe('unauthenticated')
    expect(rejection(configured, 'another').type).toBe('tokens_unread')
  })

  test('is replaced by the last known tokens, from a file that only its owner can read', async () => {
    const file = join(await testFolder(), 'tokens.json')
    const keptIn = async () => ({ kept: await openKeptTokens(file) })
    const before = await opened(await keptIn())
    await expect
      .poll(async () => (await open({ store: away(), ...(await keptIn()) })).guarded)
      .toBe(false)
    const { secret } = await make(before, 'root')
    const gone = await make(before, 'ada')
    ;(await before.revoke(gone.token.id, null, 'root'))._unsafeUnwrap()
    await expect.poll(() => readFile(file, 'utf8')).toContain('"revoked":{')
    expect(await readFile(file, 'utf8')).not.toContain(secret.slice(7))
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const auth = await open({ store: away(), ...(await keptIn()) })
    expect(auth.guarded).toBe(true)
    expect(auth.authenticate(secret)._unsafeUnwrap().principal).toBe('root')
    expect(rejection(auth, gone.secret).type).toBe('unauthenticated')
    expect(rejection(auth).type).toBe('unauthenticated')
  })

  test.each(['', '{}', '{"tokens":[{}]}'])('ignores a file that holds %j', async (text) => {
    const file = join(await testFolder(), 'tokens.json')
    await writeFile(file, text)
    const auth = await open({ store: away(), kept: await openKeptTokens(file) })
    expect(rejection(auth).type).toBe('tokens_unread')
  })

  test('rejects every client as soon as an entry cannot be read', async () => {
    const auth = await opened()
    const { secret } = await make(auth, 'root')
    const { lifetime } = auth.authenticate(secret)._unsafeUnwrap()
    const event = { id: crypto.randomUUID(), type: 'token_created', data: '{}', metadata: '{}' }
    ;(await store.append(TOKEN_LEDGER.stream, [event], { expectedRevision: 0 }))._unsafeUnwrap()
    await new Promise<void>((resolve) => lifetime.onEnd(resolve))
    expect(rejection(auth, secret).type).toBe('tokens_unread')
    expect(auth.guarded).toBe(true)
    expect(errors.join()).toContain('damaged')
    const made = await auth.create({ name: 'ada', role: 'admin', expiresIn: null }, 'local')
    expect(made._unsafeUnwrapErr().type).toBe('damaged_record')
  })
})
