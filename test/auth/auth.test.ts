import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Access, type AccessDeps } from '../../src/auth/auth.ts'
import { digestOf } from '../../src/auth/secret.ts'
import { TOKEN_LEDGER } from '../../src/auth/token-ledger.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { bound } from '../http/support.ts'
import { openTemporaryStore, testFolder } from '../store/embedded/support.ts'

let store: EventStore
let closeStore: () => Promise<void>
let offset: number
beforeEach(async () => {
  offset = 0
  ;({ store, close: closeStore } = await openTemporaryStore())
})
afterEach(() => closeStore())

const PATIENCE = 20_000
const clock = () => Date.now() / 1000 + offset
const errors: string[] = []
const log = { warn: () => {}, error: (_: object, message: string) => errors.push(message) }

/** What a server opens; it goes with the test. */
async function open(changes: Partial<AccessDeps> = {}): Promise<Access> {
  const access = await Access.open({ store, configured: null, clock, log, ...changes })
  onTestFinished(() => access.close())
  return access
}
async function opened(changes: Partial<AccessDeps> = {}): Promise<Access> {
  const access = await open(changes)
  expect(await access.read(PATIENCE)).toBe(true)
  return access
}
const make = async (
  access: Access,
  name: string,
  role: 'admin' | 'viewer' = 'admin',
  expiresIn: number | null = null,
) => (await access.create({ name, role, expiresIn }, 'local'))._unsafeUnwrap()
const rejection = (access: Access, secret?: string) =>
  access.authenticate(secret)._unsafeUnwrapErr()

describe('a log without tokens', () => {
  test('lets everybody in as local, until the first token is made', async () => {
    const access = await opened()
    expect(access.guarded).toBe(false)
    const caller = access.authenticate(undefined)._unsafeUnwrap()
    expect([caller.principal, caller.role]).toEqual(['local', 'admin'])
    expect(access.authenticate('anything').isOk()).toBe(true)
    await make(access, 'root')
    expect(access.guarded).toBe(true)
    expect(caller.lease.ended).toBe(true)
    expect(rejection(access).type).toBe('unauthenticated')
  })

  test('lets in by the token of the configuration only, where there is one', async () => {
    const access = await opened({ configured: 'configured-0123456789' })
    expect(access.guarded).toBe(true)
    expect(rejection(access).type).toBe('unauthenticated')
    expect(rejection(access, 'configured').type).toBe('unauthenticated')
    const caller = access.authenticate('configured-0123456789')._unsafeUnwrap()
    expect([caller.principal, caller.role]).toEqual(['token', 'admin'])
  })
})

test('a token that is also the configuration is no more than it was', async () => {
  const { secret } = await (async () => {
    const access = await opened()
    await make(access, 'root')
    return make(access, 'ada', 'viewer')
  })()
  const access = await opened({ configured: secret })
  expect(access.authenticate(secret)._unsafeUnwrap()).toMatchObject({
    principal: 'ada',
    role: 'viewer',
  })
})

describe('a token', () => {
  test('has a secret that only its holder has', async () => {
    const access = await opened()
    const { token, secret } = await make(access, 'root')
    expect(secret).toMatch(/^retrai_[\w-]{43}$/)
    expect((await make(access, 'other')).secret).not.toBe(secret)
    const options = { from: 0, direction: 'forward', limit: 10 } as const
    const stored = (await store.readStream(TOKEN_LEDGER.stream, options))._unsafeUnwrap()
    const text = JSON.stringify(stored)
    expect(text).not.toContain(secret.slice(7))
    expect(text).toContain(digestOf(secret))
    expect(JSON.parse(stored[0]?.metadata ?? '')).toMatchObject({ principal: 'local' })
    expect(access.authenticate(secret)._unsafeUnwrap()).toMatchObject({
      principal: 'root',
      role: 'admin',
    })
    for (const guess of [secret.slice(0, -1), `${secret}x`, token.sha256, token.id, 'root', '']) {
      expect(rejection(access, guess)).toEqual({
        type: 'unauthenticated',
        detail: 'This server knows no such token.',
      })
    }
  })

  test('is good on all servers of the log until it is revoked on any', async () => {
    const [one, two] = [await opened(), await opened()]
    await make(one, 'root')
    const { token, secret } = await make(one, 'ada', 'viewer')
    await expect.poll(() => two.authenticate(secret).isOk()).toBe(true)
    const { lease } = two.authenticate(secret)._unsafeUnwrap()
    const ended = new Promise<void>((resolve) => lease.onEnd(resolve))
    const revoked = (await one.revoke(token.id, 'lost', 'root'))._unsafeUnwrap()
    expect(revoked.revoked).toMatchObject({ by: 'root', reason: 'lost' })
    const why = { type: 'unauthenticated', detail: 'The token "ada" was revoked.' }
    expect(rejection(one, secret)).toEqual(why)
    await ended
    expect(rejection(two, secret)).toEqual(why)
    expect(two.tokens().map(({ name }) => name)).toEqual(['root', 'ada'])
  })

  test('is good until it expires', async () => {
    const access = await opened()
    await make(access, 'root')
    const { secret } = await make(access, 'ada', 'viewer', 60)
    const { lease } = access.authenticate(secret)._unsafeUnwrap()
    expect(lease.ended).toBe(false)
    offset = 61
    expect(lease.ended).toBe(true)
    expect(rejection(access, secret).type).toBe('unauthenticated')
  })

  test('ends what it let in at the moment in which it expires', async () => {
    const access = await opened()
    await make(access, 'root')
    const { token, secret } = await make(access, 'ada', 'viewer', 1)
    const { lease } = access.authenticate(secret)._unsafeUnwrap()
    await new Promise<void>((resolve) => lease.onEnd(resolve))
    expect(clock()).toBeGreaterThanOrEqual(token.expires_at ?? 0)
  })

  test('gets its name once, also where two are made at once', async () => {
    const [one, two] = [await opened(), await opened()]
    const wanted = { name: 'ada', role: 'admin', expiresIn: null } as const
    const made = await Promise.all([one.create(wanted, 'x'), two.create(wanted, 'y')])
    expect(made.map((each) => each.isOk()).sort()).toEqual([false, true])
    const lost = made.find((each) => each.isErr())
    expect(lost?._unsafeUnwrapErr().type).toBe('name_taken')
  })

  test('of the last admin stays, also where two are revoked at once', async () => {
    const [one, two] = [await opened(), await opened()]
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

  test('lets nobody in but by the configuration', async () => {
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

  test('is gone by what was known of it last, in a file that only its owner reads', async () => {
    const keptIn = join(await testFolder(), 'tokens.json')
    const before = await opened({ keptIn })
    await expect.poll(async () => (await open({ store: away(), keptIn })).guarded).toBe(false)
    const { secret } = await make(before, 'root')
    const gone = await make(before, 'ada')
    await before.revoke(gone.token.id, null, 'root')
    await expect.poll(() => readFile(keptIn, 'utf8')).toContain('"revoked":{')
    const kept = await readFile(keptIn, 'utf8')
    expect(kept).not.toContain(secret.slice(7))
    expect((await stat(keptIn)).mode & 0o777).toBe(0o600)
    const access = await open({ store: away(), keptIn })
    expect(access.guarded).toBe(true)
    expect(access.authenticate(secret)._unsafeUnwrap().principal).toBe('root')
    expect(rejection(access, gone.secret).type).toBe('unauthenticated')
    expect(rejection(access).type).toBe('unauthenticated')
  })

  test.each(['', '{}', '{"tokens":[{}]}'])('goes by no file such as %j', async (text) => {
    const keptIn = join(await testFolder(), 'tokens.json')
    await writeFile(keptIn, text)
    const access = await open({ store: away(), keptIn })
    expect(rejection(access).type).toBe('tokens_unread')
  })

  test('lets nobody in any more as soon as an entry cannot be read', async () => {
    const access = await opened()
    const { secret } = await make(access, 'root')
    const { lease } = access.authenticate(secret)._unsafeUnwrap()
    const event = { id: crypto.randomUUID(), type: 'token_created', data: '{}', metadata: '{}' }
    await store.append(TOKEN_LEDGER.stream, [event], { expectedRevision: 0 })
    await new Promise<void>((resolve) => lease.onEnd(resolve))
    expect(rejection(access, secret).type).toBe('tokens_unread')
    expect(access.guarded).toBe(true)
    expect(errors.join()).toContain('damaged')
    const made = await access.create({ name: 'ada', role: 'admin', expiresIn: null }, 'local')
    expect(made._unsafeUnwrapErr().type).toBe('damaged_record')
  })
})
