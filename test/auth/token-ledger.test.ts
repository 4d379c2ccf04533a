import { describe, expect, test } from 'vitest'
import { TokenName } from '../../src/api/auth.ts'
import {
  decideCreation,
  decideRevocation,
  isActive,
  type Token,
  type Tokens,
} from '../../src/auth/token-ledger.ts'

const now = { now: 1000, otherAdmin: false }
const token = (name: string, changes: Partial<Token> = {}): Token => ({
  id: name,
  name,
  role: 'admin',
  sha256: name,
  expires_at: null,
  created_at: 1,
  created_by: 'local',
  revoked: null,
  ...changes,
})
const revoked = { at: 2, by: 'local', reason: null }
const all = (...tokens: Token[]): Tokens => new Map(tokens.map((each) => [each.id, each]))
const wanted = (name: string, role: Token['role'] = 'admin') => {
  const { id, sha256, expires_at } = token(name)
  return { id, name, role, sha256, expires_at }
}

describe('making a token', () => {
  test('is recorded as it was requested', () => {
    expect(decideCreation(all(), wanted('ada'), now)._unsafeUnwrap()).toEqual([
      { kind: 'token_created', ts: 1000, payload: wanted('ada') },
    ])
  })

  test.each([
    ['that is in use', 'ada', token('ada')],
    ['that was in use', 'ada', token('ada', { revoked })],
    ['of one that has expired', 'ada', token('ada', { expires_at: 3 })],
    ['that has another meaning', 'local', token('ada')],
    ['that has another meaning', 'token', token('ada')],
  ])('is refused for a name %s: %s', (_, name, before) => {
    const made = decideCreation(all(token('root'), before), wanted(name), now)
    expect(made._unsafeUnwrapErr()).toEqual({ type: 'name_taken', name })
  })

  test.each([
    ['there is none', all()],
    ['the only admin was revoked', all(token('root', { revoked }))],
    ['the only admin has expired', all(token('root', { expires_at: 1000 }))],
    ['others are no admins', all(token('root', { role: 'auditor' }))],
  ])('of another role needs an admin: %s', (_, tokens) => {
    const viewer = wanted('ada', 'viewer')
    expect(decideCreation(tokens, viewer, now)._unsafeUnwrapErr().type).toBe('admin_needed')
    expect(decideCreation(tokens, viewer, { ...now, otherAdmin: true }).isOk()).toBe(true)
    expect(decideCreation(tokens, wanted('ada'), now).isOk()).toBe(true)
  })
})

describe('revoking a token', () => {
  const revoke = (tokens: Tokens, id: string, otherAdmin = false) =>
    decideRevocation(tokens, id, 'lost', { ...now, otherAdmin })

  test('is recorded once', () => {
    const tokens = all(token('root'), token('ada', { role: 'viewer' }), token('old', { revoked }))
    expect(revoke(tokens, 'ada')._unsafeUnwrap()).toEqual([
      { kind: 'token_revoked', ts: 1000, payload: { id: 'ada', reason: 'lost' } },
    ])
    expect(revoke(tokens, 'old')._unsafeUnwrap()).toEqual([])
    expect(revoke(tokens, 'none')._unsafeUnwrapErr()).toEqual({ type: 'token_not_found' })
  })

  test('is refused for the last admin', () => {
    const others = [token('late', { expires_at: 999 }), token('gone', { revoked })]
    const tokens = all(token('root'), ...others, token('op', { role: 'operator' }))
    expect(revoke(tokens, 'root')._unsafeUnwrapErr()).toEqual({ type: 'admin_needed' })
    expect(revoke(tokens, 'root', true).isOk()).toBe(true)
    expect(revoke(tokens, 'late').isOk()).toBe(true)
    expect(revoke(all(token('root'), token('ada')), 'root').isOk()).toBe(true)
  })
})

test('the last admin without an expiry cannot be revoked', () => {
  const day = 86_400
  const revoke = (left: Partial<Token>, id = 'root', otherAdmin = false) =>
    decideRevocation(all(token('root'), token('left', left)), id, null, { ...now, otherAdmin })
  for (const expires_at of [1001, 1000 + day - 1]) {
    expect(revoke({ expires_at })._unsafeUnwrapErr()).toEqual({ type: 'admin_needed' })
    expect(revoke({ expires_at }, 'root', true).isOk()).toBe(true)
    expect(revoke({ expires_at }, 'left').isOk()).toBe(true)
  }
  expect(revoke({ expires_at: 1000 + day }).isOk()).toBe(true)
  // If no admin token lasts, all but the last one can still be revoked.
  const short = all(token('a', { expires_at: 1001 }), token('b', { expires_at: 1002 }))
  expect(decideRevocation(short, 'a', null, now).isOk()).toBe(true)
  const alone = all(token('a', { expires_at: 1001 }))
  expect(decideRevocation(alone, 'a', null, now)._unsafeUnwrapErr().type).toBe('admin_needed')
})

test('a token is active until the second when it expires', () => {
  expect(isActive(token('ada', { expires_at: 1000 }), 999.9)).toBe(true)
  expect(isActive(token('ada', { expires_at: 1000 }), 1000)).toBe(false)
  expect(isActive(token('ada', { revoked }), 0)).toBe(false)
})

test('a name has up to 64 of a few characters', () => {
  for (const name of ['a', '0', 'ci.main', 'a_b-c', 'a'.repeat(64)]) {
    expect([name, TokenName.safeParse(name).success]).toEqual([name, true])
  }
  for (const name of ['', 'A', '-a', '.a', 'a b', 'ä', 'a\n', 'a'.repeat(65)]) {
    expect([name, TokenName.safeParse(name).success]).toEqual([name, false])
  }
})
