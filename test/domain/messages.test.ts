import { describe, expect, test } from 'vitest'
import type { PersonCommand } from '../../src/domain/commands.ts'
import { nextStep } from '../../src/domain/next-step.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import {
  begun,
  change,
  check,
  claim,
  conversationOf,
  create,
  given,
  look,
  reply,
  result,
  type Step,
  say,
  story,
  textsIn,
  working,
} from './support.ts'

const sayOnce = (text: string, key: string): PersonCommand => ({
  type: 'send_message',
  text,
  idempotency: { key, request_sha256: `hash of ${text}` },
})
const replyAfter = (user_messages: number, tools: readonly string[] = []) =>
  reply(tools, 100, 0.01, { user_messages })
const sent = (records: readonly RunRecord[]) => textsIn(conversationOf(records))

describe('a message of a person', () => {
  const phases: readonly (readonly [string, readonly Step[]])[] = [
    ['before the first check', begun()],
    ['while the project is read', [...begun(), check(false)]],
    ['while the model replies', working()],
    ['while a call runs', [...working(), reply(['bash_exec'])]],
    ['while the goal is checked', [...working(), ...change, reply()]],
    ['while a person is asked', [...working({ hitl_enabled: true }), reply()]],
  ]
  test.each(phases)('%s is recorded, and nothing else changes', (_, steps) => {
    const before = given(...steps).state
    const { state, records } = given(...steps, say('Leave the API alone.'))
    expect(records.at(-1)?.kind).toBe('user_message')
    expect(state?.phase).toEqual(before?.phase)
    expect(sent(records).at(-1)).toContain('Leave the API alone.')
  })

  test('that a request did not hold comes after its reply, and before the next one', () => {
    const first = given(...working(), say('Hurry.'), replyAfter(0, ['bash_exec'])).records
    expect(sent(first).slice(2).join('\n')).toMatch(/^assistant: I look\.\nuser: .*\nHurry\.$/s)
    const steps = [say('Hurry.'), replyAfter(0, ['bash_exec']), result('c0', 'bash_exec')]
    const roles = sent(given(...working(), ...steps).records).map((line) => line.split(':')[0])
    expect(roles).toEqual(['system', 'user', 'assistant', 'tool', 'user'])
  })

  test('that a request held stays where the model read it', () => {
    const first = given(...working(), say('Hurry.')).records
    const { records } = given(...working(), say('Hurry.'), replyAfter(1))
    expect(sent(records).slice(0, 2)).toEqual(sent(first))
  })

  test('keeps a run from ending before the model has read it', () => {
    given(...working(), ...change, say('And add a test.')).each([
      replyAfter(0),
      '1 llm_usage, assistant_message, step_start plan',
    ])
    story(
      [...working(), ...change, reply(), say('And add a test.')],
      [check(true), '1 goal_check, iteration_complete, 2 step_start plan'],
      [replyAfter(1), '2 llm_usage, assistant_message, iteration_complete, run_end achieved'],
    )
  })

  test('keeps the run at work although its project is green', () => {
    given(...begun(), say('Add a test.')).each([check(true), '0 goal_check'])
    const { state } = given(...begun(), say('Add a test.'), check(true))
    expect(state && nextStep(state).type).toBe('read_context')
  })

  test('with a key is recorded once', () => {
    const steps = [...working(), sayOnce('Hurry.', 'k1')]
    given(...steps).each(
      [sayOnce('Hurry.', 'k1'), { type: 'already_sent', seq: given(...steps).state?.seq ?? 0 }],
      [sayOnce('Slowly.', 'k1'), { type: 'key_reused' }],
      [sayOnce('Hurry.', 'k2'), '1 user_message'],
    )
  })
})

describe('instructions', () => {
  const instructed = {
    ...create({ max_turns_per_iteration: 5 }),
    instructions: 'Add a test.',
  } as Step
  const steps = [instructed, claim()]

  test('are in the first request', () => {
    const { records } = given(...steps, check(false), look)
    expect(sent(records)[1]).toMatch(
      /# Instructions\nAdd a test\..*not reached yet.*# Files of the project\na\.py/s,
    )
  })

  test('keep a green project at work, and the run ends achieved when the agent is done', () => {
    given(...steps).each([check(true), '0 goal_check'])
    given(...steps, check(true), look, ...change, reply()).each([
      check(true),
      '1 goal_check, iteration_complete, run_end achieved',
    ])
  })
})
