import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { conversationWith, messagesAfter } from './conversations.ts'
import { ADAPTERS, APIS, REQUEST, routeTo } from './support.ts'

/** A body without its cache marks, which no provider counts as a part of the text. */
const unmarked = (body: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(body, (name, value) => (name === 'cache_control' ? undefined : value)))

/** The list that grows with the conversation, as text without its end. */
function growing(body: Record<string, unknown>): string {
  const list = JSON.stringify(body.messages ?? body.input ?? body.contents)
  return list.slice(0, -1)
}

const rest = ({ messages: _, input: __, contents: ___, ...others }: Record<string, unknown>) =>
  others

describe.each(APIS)('two consecutive requests of a run over %s', (api) => {
  test('begin with the same bytes: the first is a prefix of the second', () => {
    const route = routeTo(api)
    fc.assert(
      fc.property(conversationWith(route, 8, true), (turns) => {
        const bodies = turns.map((_, index) => {
          const messages = messagesAfter(turns.slice(0, index + 1))
          return unmarked(ADAPTERS[api].body({ ...REQUEST, messages, cacheKey: 'r' }, route))
        })
        for (const [index, body] of bodies.entries()) {
          const before = bodies[index - 1]
          if (before === undefined) continue
          expect(growing(body).startsWith(growing(before))).toBe(true)
          expect(JSON.stringify(rest(body))).toBe(JSON.stringify(rest(before)))
        }
      }),
    )
  })
})
