import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import { modelInUse, nextFallback } from '../../src/domain/model-choice.ts'
import { by, claim, configure, conversationOf, create, given, type Step } from './support.ts'

const MODELS = { model_name: 'a', fallback_models: ['b', 'c'] }
const retry = by('p1', { type: 'record_retry', reason: 'HTTP 503', delayMs: 500 })
const fallBack = (from: string, to: string): RunCommand =>
  by('p1', { type: 'record_retry', reason: 'HTTP 503', delayMs: 0, fallback: { from, to } })

function asking(...steps: Step[]) {
  const { state } = given(create(MODELS), claim(), ...steps)
  if (state === null) throw new Error('there is no run')
  return { state, model: modelInUse(state), next: nextFallback(state)?.to }
}

describe('the model that a run asks', () => {
  test('is that of its configuration, and after failures the next of its fallbacks', () => {
    expect(asking()).toMatchObject({ model: 'a', next: 'b' })
    expect(asking(retry, fallBack('a', 'b'))).toMatchObject({ model: 'b', next: 'c' })
    const last = asking(fallBack('a', 'b'), fallBack('b', 'c'))
    expect(last).toMatchObject({ model: 'c', next: undefined })
  })

  test('has attempts of its own', () => {
    const { state } = asking(retry, fallBack('a', 'b'), retry)
    expect(state.phase).toMatchObject({ type: 'planning', failures: 1 })
  })

  test('is the first again after a person has changed the models', () => {
    const changed = (changes: Parameters<typeof configure>[0]) =>
      asking(fallBack('a', 'b'), configure(changes))
    expect(changed({ model_name: 'd' })).toMatchObject({ model: 'd', next: 'b' })
    expect(changed({ fallback_models: ['e'] })).toMatchObject({ model: 'a', next: 'e' })
    expect(changed({ hitl_enabled: true }).model).toBe('b')
  })

  test('has attempts of its own, too, if a person has chosen it', () => {
    const changed = asking(retry, retry, configure({ model_name: 'd' }), retry)
    expect(changed.state.phase).toMatchObject({ type: 'planning', failures: 1 })
    const other = asking(retry, retry, configure({ hitl_enabled: true }))
    expect(other.state.phase).toMatchObject({ type: 'planning', failures: 2 })
  })

  test('is not limited to the context that the model before it could take', () => {
    const overflow = by('p1', {
      type: 'record_retry',
      reason: 'too long',
      delayMs: 0,
      failure: 'context_overflow',
      contextTokens: 500,
    })
    const contextOf = (...steps: Step[]) =>
      conversationOf(given(create(MODELS), claim(), ...steps).records).contextTokens
    expect(contextOf(overflow, configure({ hitl_enabled: true }))).toBe(500)
    expect(contextOf(overflow, configure({ model_name: 'd' }))).toBeNull()
  })
})
