import { describe, expect, test } from 'vitest'
import { dueCompaction } from '../../src/domain/compaction.ts'
import { planOf } from '../../src/domain/plan.ts'
import type { PayloadOf } from '../../src/domain/records.ts'
import { messagesWithout, toMessages } from '../../src/domain/sent-messages.ts'
import { tokensOf } from '../../src/domain/turn-messages.ts'
import {
  check,
  conversationOf,
  given,
  record,
  result,
  type Step,
  say,
  usageOf,
  working,
} from './support.ts'

/** About this many tokens. */
const text = (tokens: number) => 'word '.repeat((tokens * 4) / 5)

type Message = PayloadOf<'assistant_message'>

const replied = (message: Partial<Message>, inputTokens = 1, omitted_turns = 0) =>
  record({
    llm_usage: { ...usageOf(inputTokens, 0), output_tokens: 1, omitted_turns },
    assistant_message: { text: null, tool_calls: [], finish_reason: 'stop', ...message },
  })
const calling = (tool: string, args: Message['tool_calls'][number]['args']) => ({
  tool_calls: [{ call_id: 'c0', tool, args }],
})
const WRITES = calling('file_write', { path: 'src/a.ts' })
const reply = (inputTokens = 1) => replied(WRITES, inputTokens)
const wrote = (output: string) => result('c0', 'file_write', output)

const turn = (name: string, tokens = 100): Step[] => [reply(), wrote(`${name} ${text(tokens)}`)]
const turns = (names: string, tokens = 100) => [...names].flatMap((name) => turn(name, tokens))

function compacted(changes: Partial<PayloadOf<'context_compacted'>>) {
  const context_compacted = {
    turns: 2,
    up_to: 8,
    summary: 'I wrote a file.',
    model_name: 'm',
    cost_usd: 0,
    tokens_before: 400,
    tokens_after: 100,
    ...changes,
  }
  return record({ context_compacted })
}
const emptied = (turns: number) => compacted({ turns, outputs_only: true, summary: null })

const begun = working({ max_turns_per_iteration: 50 })
const talk = (...steps: Step[]) => conversationOf(given(...begun, ...steps).records)
const sent = (conversation: ReturnType<typeof talk>) =>
  toMessages(conversation, 10_000).messages.map(({ content }) => content ?? '')

describe('a conversation is shortened', () => {
  const five = turns('abcde')

  test('if it would not fit, so that its latest turns keep a fifth of the budget', () => {
    expect(dueCompaction(talk(...five), 1_000)).toBeNull()
    expect(dueCompaction(talk(...five), 500)).toMatchObject({ turns: 4 })
    const fifty = String.fromCharCode(...Array.from({ length: 50 }, (_, n) => 65 + n))
    expect(dueCompaction(talk(...turns(fifty)), 5_000)?.turns).toBeGreaterThanOrEqual(39)
  })

  test('by the tokens that the provider counts, which may be more than the estimate', () => {
    const counted = talk(...five, reply(2_000), wrote('f'))
    expect(dueCompaction(counted, 1_500)).toMatchObject({ turns: 5, tokensBefore: 2_002 })
  })

  test('not if that would make little room', () => {
    const huge = talk(...turns('ab', 20), ...turn('c', 4_000))
    expect(dueCompaction(huge, 3_000)).toBeNull()
  })

  test('not again right after that', () => {
    expect(dueCompaction(talk(...five, compacted({ turns: 4 })), 500)).toBeNull()
  })
})

describe('old outputs', () => {
  const seven = turns('abcdefg', 300)

  test('are left out before anything is summarized, all but those of the latest turns', () => {
    const due = dueCompaction(talk(...seven), 2_000)
    expect(due).toMatchObject({ turns: 6, outputsOnly: true })
    const outputs = sent(talk(...seven, emptied(6)))
      .slice(2)
      .filter(Boolean)
    expect(outputs).toHaveLength(7)
    for (const output of outputs.slice(0, 6)) {
      expect(output).toMatch(/^\[This output of 12\d\d characters is left out.*"call_id": "c0"/)
    }
    expect(outputs[6]).toMatch(/^g word/)
  })

  test('are counted no more, also if the provider counted them in the request before', () => {
    const counted = talk(...seven, reply(5_000), wrote('h'), emptied(6))
    expect(dueCompaction(counted, 2_000)).toBeNull()
    const later = talk(...seven, emptied(7), reply(5_000), wrote('h'))
    expect(dueCompaction(later, 2_000)).toMatchObject({ outputsOnly: false, tokensBefore: 5_002 })
  })

  test('stay left out when the first turns are summarized later', () => {
    const both = talk(...seven, emptied(6), compacted({ turns: 3 }))
    const outputs = sent(both).slice(3).filter(Boolean)
    expect(outputs).toHaveLength(4)
    expect(outputs[0]).toMatch(/is left out/)
  })

  test('are left out first in a small window too, of which the tools take most', () => {
    const due = dueCompaction(talk(...seven), 6_000, 4_200)
    expect(due).toMatchObject({ turns: 6, outputsOnly: true })
    expect(dueCompaction(talk(...seven, emptied(6)), 6_000, 4_200)).toBeNull()
  })

  test('are not left out if the request would not fit without them either', () => {
    expect(dueCompaction(talk(...seven), 3_500, 4_200)).toMatchObject({ outputsOnly: false })
  })

  test('that are short stay', () => {
    const short = talk(...turns('ab', 20), emptied(2))
    expect(sent(short).join()).not.toContain('left out')
  })

  test('are shown by a conversation as it was before', () => {
    const { records } = given(...begun, ...seven, emptied(6))
    const before = conversationOf(records.slice(0, -1))
    expect(sent(before).join()).not.toContain('left out')
  })
})

describe('a plan', () => {
  const noted = (step: string) => [
    replied(calling('update_plan', { steps: [{ step, status: 'in_progress' }] })),
    result('c0', 'update_plan', 'The plan is noted.'),
  ]

  test('is kept in the state, and in the conversation after each summary', () => {
    const steps = [...noted('Read.'), ...noted('Mend it.'), ...turns('ab')]
    const twice = [...steps, compacted({ turns: 3 }), ...turn('c'), compacted({ turns: 4 })]
    const { state, records } = given(...begun, ...twice)
    expect(state?.plan).toEqual([{ step: 'Mend it.', status: 'in_progress' }])
    const [, , note] = sent(conversationOf(records))
    expect(note).toContain('# Your plan\n[>] Mend it.')
    expect(note).not.toContain('Read.')
  })

  test('that was redacted, or refused, is not kept', () => {
    const steps = [{ step: '[redacted]', status: '[redacted]' }]
    expect(planOf({ tool: 'update_plan', args: { steps } })).toBeNull()
    const refused = result('c0', 'update_plan', 'not valid', 'rejected')
    expect(given(...begun, ...noted('Read.').slice(0, 1), refused).state?.plan).toBeUndefined()
  })
})

describe('the next request', () => {
  const worked = [
    ...turn('a'),
    say('Leave the API alone.'),
    ...turn('b'),
    replied({ ...WRITES, user_messages: 1 }),
    wrote('c'),
  ]

  test('holds task, summary, words of people and the latest turns, and says what is kept', () => {
    const [, opening, note, , last] = sent(talk(...worked, compacted({})))
    expect(opening).toContain('Work towards the goal pytest')
    expect(opening).toContain('3 failing')
    expect(note).toContain('first 2 turns of this run are left out')
    expect(note).toContain('# Summary\nI wrote a file.')
    expect(note).toContain('# Files that you have written\nsrc/a.ts')
    expect(note).toContain('Leave the API alone.')
    expect(last).toBe('c')
  })

  test('holds what the last check found, and what people said, also after the second summary', () => {
    const later = [replied({ text: 'Done.' }), check(false, 'one fails'), ...turns('de')]
    const omitted = talk(...worked, ...later)
    const [, , left] = toMessages(omitted, 1).messages
    expect(left?.content).toMatch(/5 earlier turns are left out.*Leave the API alone.*one fails/s)
    const second = compacted({ turns: 5, summary: 'Much was done.' })
    const twice = talk(...worked, compacted({}), ...later, second)
    const [, , note = ''] = sent(twice)
    expect(note).toContain('Leave the API alone.')
    expect(note).toContain('# The last check\nThe goal was checked: not reached yet. one fails')
    expect(note).not.toContain('I wrote a file.')
    expect(twice.turns?.before).toBeNull()
    // Requests of earlier versions did not hold them.
    const [, , former] = messagesWithout(omitted, 4, { keepsWords: false })
    expect(former?.content).toMatch(/^\[\d+ earlier turns are left out here\.[^\]]*\]$/)
  })

  test('holds the words of people once, also if their turn is left out without a compaction', () => {
    const conversation = talk(...worked)
    for (const budget of [1, 250, 10_000]) {
      const { messages, omittedTurns, tokens } = toMessages(conversation, budget)
      const texts = messages.map(({ content }) => content ?? '').join('\n')
      expect(texts.split('Leave the API alone.')).toHaveLength(2)
      expect(omittedTurns > 0).toBe(budget < 10_000)
      expect(tokens).toBeGreaterThanOrEqual(tokensOf(messages))
    }
  })

  test('says that there is no summary if the model could not write one, or it was redacted', () => {
    for (const none of [{ summary: null, failure: 'HTTP 500' }, { summary: '[redacted]' }]) {
      const [, , note] = sent(talk(...worked, compacted(none)))
      expect(note).toContain('There is no summary of the rest')
    }
  })

  test('has a message that no request has held yet', () => {
    const messages = sent(talk(...worked, compacted({}), say('Hurry up.')))
    expect(messages.filter((content) => content.includes('Hurry up.'))).toHaveLength(1)
  })

  test('is shown as it was sent before the compaction, and after it', () => {
    const { records } = given(...begun, ...worked, compacted({}), replied(WRITES, 1, 2))
    const at = records.findLastIndex(({ kind }) => kind === 'context_compacted')
    const before = conversationOf(records.slice(0, at))
    expect(messagesWithout(before, 0).filter(({ role }) => role === 'tool')).toHaveLength(3)
    const answer = records.findLastIndex(({ kind }) => kind === 'assistant_message')
    const asked = messagesWithout(conversationOf(records.slice(0, answer)), 2)
    expect(asked).toEqual(toMessages(conversationOf(records.slice(0, at + 1)), 10_000).messages)
  })
})
