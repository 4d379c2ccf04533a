import { describe, expect, test } from 'vitest'
import { ask, REQUEST, scripted } from './support.ts'

const reply = (calls: readonly string[] = []) => ({
  role: 'assistant' as const,
  content: 'Well.',
  calls: calls.map((id) => ({ id, tool: 'file_read', args: '{}' })),
})

describe('the scripted model', () => {
  test('answers by the position in the conversation, so a repeated request gets the same reply', async () => {
    const { models } = await scripted([{ text: 'one' }, { text: 'two' }])
    const second = { messages: [...REQUEST.messages, reply()] }
    const third = { messages: [...second.messages, reply()] }
    const texts = []
    for (const request of [second, REQUEST, second, REQUEST, third]) {
      texts.push((await ask(models, request))._unsafeUnwrap().text)
    }
    expect(texts).toEqual(['two', 'one', 'two', 'one', 'My script ends here.'])
  })

  test('counts the faults of each conversation separately', async () => {
    const { models } = await scripted([{ text: 'one', first: [{ status: 500 }] }])
    const other = { messages: [{ role: 'user' as const, content: 'Fix another one.' }] }
    const outcomes = []
    for (const request of [REQUEST, other, other, REQUEST]) {
      outcomes.push((await ask(models, request)).isOk())
    }
    expect(outcomes).toEqual([false, false, true, true])
  })
})
