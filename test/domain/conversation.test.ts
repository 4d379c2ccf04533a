import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChatMessage, Conversation } from '../../src/domain/conversation.ts'
import { toMessages } from '../../src/domain/sent-messages.ts'
import { validRun } from '../support/run-records.ts'
import { check, claim, conversationOf, create, given, reply, respond, result } from './support.ts'

const turnsOf = ({ turns }: Conversation): number => turns?.count ?? 0
const roles = (messages: readonly ChatMessage[]) => messages.map(({ role }) => role)
const UNLIMITED = Number.MAX_SAFE_INTEGER

test('holds the system prompt, the task, replies, results and the verdict on the goal', () => {
  const { records } = given(
    create(),
    claim(),
    reply(['file_read', 'bash_exec']),
    result('c0', 'file_read'),
    result('c1', 'bash_exec'),
    check(false, '3 of 8 tests failing'),
  )
  const { messages, omittedTurns } = toMessages(conversationOf(records), UNLIMITED)
  expect(roles(messages)).toEqual(['system', 'user', 'assistant', 'tool', 'tool', 'user'])
  expect(messages[0]?.content).toBe('You fix code.')
  expect(messages[1]?.content).toContain('pytest')
  expect(messages[5]?.content).toContain('3 of 8 tests failing')
  expect(omittedTurns).toBe(0)
})

test('the model reads what a person said, and the outcome of a call that was not ok', () => {
  const answer = { ...respond('approve'), reason: 'leave the API alone' } as const
  const lastAfter = (...steps: Parameters<typeof given>) =>
    toMessages(conversationOf(given(...steps).records), UNLIMITED).messages.at(-1)
  const said = lastAfter(create({ hitl_enabled: true }), claim(), reply(), check(false), answer)
  expect(said?.content).toContain('leave the API alone')
  expect(
    lastAfter(create(), claim(), reply(['bash_exec', 'file_read']), claim('p2', 'p1')),
  ).toMatchObject({
    role: 'tool',
    callId: 'c0',
    content: expect.stringMatching(/^\[unknown\]/),
  })
})

describe('for all valid runs and budgets', () => {
  /** Results come right after the reply that requested them, in its order. */
  function expectPaired(messages: readonly ChatMessage[]): void {
    let asked: string[] = []
    for (const message of messages) {
      if (message.role === 'tool') expect(asked.shift()).toBe(message.callId)
      if (message.role === 'assistant') asked = message.calls.map(({ id }) => id)
    }
  }

  test('a call and its result stay together', () => {
    fc.assert(
      fc.property(validRun(), fc.integer({ min: 1, max: 400 }), (records, budget) => {
        expectPaired(toMessages(conversationOf(records), budget).messages)
      }),
    )
  })

  test('the latest turns are kept, at least one, and the omitted ones are counted', () => {
    fc.assert(
      fc.property(validRun(), fc.integer({ min: 1, max: 400 }), (records, budget) => {
        const conversation = conversationOf(records)
        const all = toMessages(conversation, UNLIMITED).messages
        const { messages, omittedTurns } = toMessages(conversation, budget)
        const kept = turnsOf(conversation) - omittedTurns
        expect(kept).toBeGreaterThanOrEqual(Math.min(1, turnsOf(conversation)))
        const { compaction } = conversation
        const isPruned = omittedTurns > (compaction?.turns ?? 0)
        const head = 2 + Number(compaction !== null) + Number(isPruned)
        const behindHead = messages.slice(head)
        expect(behindHead).toEqual(all.slice(all.length - behindHead.length))
        expect(behindHead.filter(({ role }) => role === 'assistant')).toHaveLength(kept)
      }),
    )
  })
})
