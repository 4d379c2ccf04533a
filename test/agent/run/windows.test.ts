import { errAsync, okAsync } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import type { Models } from '../../../src/models/model.ts'
import { reachGoal, Workshop } from '../support.ts'

const WINDOW = 16_000
/** The provider counts more tokens than four characters each. */
const tokensIn = (value: unknown): number => Math.round((JSON.stringify(value).length / 4) * 1.15)

/** A model with a small window that is not known, at an endpoint that counts all of a request. */
function smallModel(turns: number) {
  const seen = { overflows: 0, compactions: 0, requests: [] as number[] }
  let done = 0
  const models: Models = {
    contextBudget: async () => 96_000,
    complete: ({ messages, tools }) => {
      const inputTokens = tokensIn([messages, tools])
      if (inputTokens > WINDOW) {
        seen.overflows += 1
        return errAsync({ type: 'context_overflow', message: 'prompt is too long' })
      }
      seen.requests.push(inputTokens)
      const isCompaction = messages.at(-1)?.content?.includes('replaced by a summary') === true
      if (isCompaction) seen.compactions += 1
      else done += 1
      const calls = [{ command: `printf '${done}%01999d'` }, reachGoal.args]
      const args = calls[done < turns ? 0 : 1] ?? {}
      const work = { text: null, toolCalls: [{ call_id: `c${done}`, tool: 'bash_exec', args }] }
      const summary = { text: `# Done\n${'I printed zeros. '.repeat(200)}`, toolCalls: [] }
      return okAsync({
        ...(isCompaction ? summary : done > turns ? { text: 'Done.', toolCalls: [] } : work),
        finishReason: isCompaction || done > turns ? 'stop' : 'tool_calls',
        usage: {
          inputTokens,
          outputTokens: 50,
          reasoningTokens: null,
          cachedTokens: null,
          cacheWriteTokens: null,
        },
        provider: 'custom',
        costUsd: null,
        priceSource: null,
        providerItems: null,
        firstTokenMs: null,
      })
    },
  }
  return { models, seen }
}

describe('a window of 16,000 tokens that is not known', () => {
  test('is found in few tries, is mostly used, and is not summarized every other turn', async () => {
    const { models, seen } = smallModel(60)
    await using shop = await Workshop.open(() => ({ text: 'unused' }))
    const records = await shop.play({ max_turns_per_iteration: 200, max_iterations: 2 }, { models })
    expect(records.at(-1)?.payload).toMatchObject({ achieved: true })
    const compacted = records.filter(({ kind }) => kind === 'context_compacted')
    expect(compacted.every(({ payload }) => 'failure' in payload === false)).toBe(true)
    expect({ overflows: seen.overflows, compactions: compacted.length }).toEqual({
      overflows: expect.toSatisfy((count: number) => count <= 3),
      compactions: expect.toSatisfy((count: number) => count <= 12),
    })
    expect(Math.max(...seen.requests.slice(-30))).toBeGreaterThan(WINDOW * 0.7)
  })
})
