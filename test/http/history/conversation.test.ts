import { errAsync, okAsync } from 'neverthrow'
import { describe, expect } from 'vitest'
import type { ModelRequest, Models } from '../../../src/models/model.ts'
import { sentConversation } from '../../../src/queries/run-history.ts'
import { Workshop } from '../../agent/support.ts'
import { ask } from '../../support/requests.ts'
import { CLAIM, iteration, replyWith, resultOf, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'

const tool = { name: 'look', description: 'Look around.', parameters: { type: 'object' } }
const test = testWith({ tools: [tool], contextBudget: async () => 1000 })

/** A model that keeps its requests, but those for summaries; every third request fails, and it never reaches the goal. */
class KeepingModel implements Models {
  readonly answered: ModelRequest[] = []
  #requests = 0

  complete(request: ModelRequest): ReturnType<Models['complete']> {
    this.#requests += 1
    if (this.#requests % 3 === 0) {
      const failure = { kind: 'overloaded', message: 'HTTP 529', retryAfterMs: null } as const
      return errAsync({ type: 'transient', ...failure })
    }
    const isAside = request.messages.at(-1)?.content?.includes('as text only') === true
    if (!isAside) this.answered.push(structuredClone(request))
    const count = this.answered.length
    const say = (index: number) => {
      const args = { command: `echo ${'word '.repeat(10 * count)}${index}` }
      return { call_id: `${count}-${index}`, tool: 'bash_exec', args }
    }
    return okAsync({
      text: `Reply ${count}`,
      toolCalls: Array.from({ length: isAside ? 0 : count % 3 }, (_, index) => say(index)),
      finishReason: 'stop',
      providerItems: null,
      usage: {
        inputTokens: 10,
        outputTokens: 5,
        cachedTokens: null,
        cacheWriteTokens: null,
        reasoningTokens: null,
      },
      provider: 'keeping',
      costUsd: null,
      priceSource: null,
      firstTokenMs: null,
    })
  }

  /** Budgets that are small enough to omit turns, one for each model. */
  async contextBudget(modelName: string): Promise<number> {
    return modelName === 'scripted' ? 150 : 400
  }
}

describe('the conversation at a record', () => {
  test('is exactly what the model was sent', async () => {
    await using workshop = await Workshop.open([])
    const model = new KeepingModel()
    workshop.startAgent({ effects: { models: model } })
    const runId = await workshop.create({ max_iterations: 9, hitl_enabled: true })
    let seen = -1
    for (let decisions = 1; decisions <= 8; decisions += 1) {
      const records = await workshop.until(runId, 'human_check_required', seen)
      seen = records.length - 1
      if (decisions === 4) {
        const changes = { model_name: 'another' }
        await workshop.command(runId, { type: 'configure', changes })
      }
      const reason = decisions % 2 === 0 ? `Look at ${decisions}` : null
      const answer = { type: 'respond', decision: 'approve', reason, answers: null } as const
      await workshop.command(runId, answer)
    }
    const records = await workshop.until(runId, 'run_end')
    const replies = records.flatMap(({ kind }, seq) => (kind === 'assistant_message' ? [seq] : []))
    expect(replies).toHaveLength(model.answered.length)
    // The budget of today does not change what was sent.
    const deps = { store: workshop.store, contextBudget: async () => 1 }
    let omitted = 0
    for (const at of records.keys()) {
      const sent = (await sentConversation(runId, at, deps))._unsafeUnwrap()
      const index = replies.findIndex((seq) => seq >= at)
      const asked = model.answered[index]
      if (asked === undefined) {
        expect([sent.request, sent.answered_by, sent.as_of]).toEqual([
          'not_sent',
          null,
          records.length - 1,
        ])
        continue
      }
      expect([sent.request, sent.answered_by]).toEqual(['answered', replies[index]])
      expect([sent.model_name, sent.messages]).toEqual([asked.modelName, asked.messages])
      omitted = Math.max(omitted, sent.omitted_turns)
    }
    expect(omitted).toBeGreaterThan(2)
    expect(records.some(({ kind }) => kind === 'context_compacted')).toBe(true)
  })

  describe('over HTTP', () => {
    const get = async (server: TestServer, runId: string, search = '') => {
      const { status, body } = await ask(server, `GET /api/runs/${runId}/conversation${search}`)
      expect(status).toBe(200)
      return body
    }
    const opening = [
      { role: 'system', content: 'Mend it.' },
      { role: 'user', content: 'Work towards the goal pytest in the project at /.' },
    ]

    test('holds the messages, the tools, and whether it was sent', async ({ server, runId }) => {
      const model_name = 'claude-sonnet-4-6'
      const common = { run_id: runId, model_name, omitted_turns: 0, tools: [tool] }
      const before = { ...common, messages: opening, answered_by: null }
      expect(await get(server, runId)).toEqual({ ...before, request: 'not_sent', as_of: 0 })
      await server.agentDoes(runId, CLAIM)
      expect(await get(server, runId)).toEqual({ ...before, request: 'under_way', as_of: 2 })
      const look = replyWith([{ call_id: 'a', tool: 'look', args: { at: 'it' } }])
      const failed = { output: 'Hm.', exit_code: 1, outcome: 'error' } as const
      const [, ...check] = iteration(false)
      await server.agentDoes(runId, look, resultOf('a', 'look', failed), ...check)
      expect(await get(server, runId, '?at=4')).toEqual({
        ...common,
        messages: opening,
        request: 'answered',
        as_of: 2,
        answered_by: 4,
      })
      expect(await get(server, runId, '?at=5')).toEqual({
        ...common,
        request: 'under_way',
        as_of: 11,
        answered_by: null,
        messages: [
          ...opening,
          {
            role: 'assistant',
            content: 'Done.',
            tool_calls: [{ call_id: 'a', tool: 'look', args: '{"at":"it"}' }],
          },
          { role: 'tool', call_id: 'a', content: '[error, exit code 1]\nHm.' },
          { role: 'user', content: 'The goal was checked: not reached yet. 3 of 42 tests failing' },
        ],
      })
    })

    test('is as of the last record that the request holds, even if a person has written meanwhile', async ({
      server,
    }) => {
      const runId = await server.createRun({}, CLAIM)
      const said = await ask(server, `POST /api/runs/${runId}/messages`, { text: 'Wait.' })
      expect(said.body).toMatchObject({ seq: 3 })
      const [, ...check] = iteration(false)
      await server.agentDoes(runId, replyWith([]))
      expect(await get(server, runId, '?at=5')).toMatchObject({ as_of: 2, answered_by: 5 })
      await server.agentDoes(runId, ...check, replyWith([], { user_messages: 1 }))
      const next = await get(server, runId, '?at=6')
      expect(next).toMatchObject({ as_of: 9, answered_by: 11 })
      expect(JSON.stringify(next)).toContain('Wait.')
    })
  })
})
