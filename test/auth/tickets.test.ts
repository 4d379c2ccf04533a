import { beforeEach, expect, test } from 'vitest'
import { type Caller, Tickets, TokenLifetime } from '../../src/auth/callers.ts'

let now: number
let caller: Caller
let tickets: Tickets
const clock = () => now
beforeEach(() => {
  now = 1000
  caller = { principal: 'ada', role: 'viewer', lifetime: new TokenLifetime(1020, clock) }
  tickets = new Tickets(clock)
})
const issue = (to: Caller = caller) => tickets.issue(to).ticket
const forever = (): Caller => ({ ...caller, lifetime: new TokenLifetime(null, clock) })

test('a ticket is valid for its caller, once', () => {
  const { ticket, expiresAt } = tickets.issue(caller)
  expect(expiresAt).toBe(1030)
  expect(tickets.redeem(ticket)._unsafeUnwrap()).toBe(caller)
  expect(tickets.redeem(ticket)._unsafeUnwrapErr().type).toBe('unauthenticated')
})

test.each([
  ['for 30 seconds', forever, 1030],
  ['no longer than the token that it was issued for', () => caller, 1020],
] as const)('it is valid %s', (_, holder, end) => {
  const [first, second] = [issue(holder()), issue(holder())]
  now = end - 0.1
  expect(tickets.redeem(first).isOk()).toBe(true)
  now = end
  expect(tickets.redeem(second).isErr()).toBe(true)
})

test('it is not valid once its token is revoked', () => {
  const third = issue(forever())
  const revoked = forever()
  const fourth = issue(revoked)
  revoked.lifetime.end()
  expect(tickets.redeem(third).isOk()).toBe(true)
  expect(tickets.redeem(fourth).isErr()).toBe(true)
})

const of = (principal: string): Caller => ({ ...forever(), principal })

test('the tickets of one token do not use up those of another', () => {
  const other = issue(of('grace'))
  for (let count = 0; count < 10_000; count += 1) issue(of('ada'))
  expect(tickets.redeem(other).isOk()).toBe(true)
})
