import { describe, expect, test } from 'vitest'
import { ask, REQUEST, scripted } from './support.ts'

const reply = (calls: readonly string[] = []) => ({
  role: 'assistant' as const,
  content: 'Well.',
  calls: calls.map((id) => ({ id, tool: 'file_read', args: '{}' })),
})

async function post(url: string, body: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return fetch(`${url}/chat/completions`, { method: 'POST', headers, body: JSON.stringify(body) })
}

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

  test('calls the script if it is a function', async () => {
    const { models } = await scripted(({ turn, model, tools }) => ({
      text: `${turn} ${model} ${tools.join()}`,
    }))
    const tools = [{ name: 'file_read', description: '', parameters: { type: 'object' } }]
    const outcome = await ask(models, { messages: [...REQUEST.messages, reply()], tools })
    expect(outcome._unsafeUnwrap().text).toBe('1 scripted-model file_read')
  })

  test('reports what is wrong with a request', async () => {
    const { server } = await scripted([])
    expect((await post(server.url, { model: 'm' })).status).toBe(400)
    expect((await fetch(`${server.url}/completions`)).status).toBe(404)
  })
})
