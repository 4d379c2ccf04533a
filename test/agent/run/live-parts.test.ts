import { isDeepStrictEqual } from 'node:util'
import { errAsync, ResultAsync } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import { type Attempt, LiveParts } from '../../../src/live/live-parts.ts'
import { processMask } from '../../../src/masking/process-mask.ts'
import type { ModelFailure, ModelPart, ModelReply, Models } from '../../../src/models/model.ts'
import { createModels } from '../../../src/models/models.ts'
import { FAKES } from '../../masking/fakes.ts'
import { reachGoal, Workshop } from '../support.ts'

/** An observer that keeps what it has seen of each attempt. */
class Observer {
  readonly live = new LiveParts(processMask)
  readonly seen = new Map<Attempt, Map<string, string>>()
  #waiting: (() => void)[] = []

  constructor() {
    this.live.join({ runId: null, onParts: () => this.#look() })
  }

  get all() {
    return [...this.seen].map(([{ of, outcome }, parts]) => {
      return { seq: of.seq, outcome, parts: Object.fromEntries(parts) }
    })
  }

  async until(isThere: () => boolean): Promise<void> {
    while (!isThere()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #look(): void {
    for (const attempt of this.live.underWay(null)) {
      const parts = [...attempt.parts()].map((part) => {
        return [JSON.stringify(part.name), part.from(0).text] as const
      })
      this.seen.set(attempt, new Map(parts))
    }
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

/** A model whose reply is under way until it is released. */
function slowModel(parts: readonly ModelPart[], models: Models) {
  const released = Promise.withResolvers<void>()
  let times = 0
  const slow: Models = {
    ...models,
    complete: (request, signal, onPart) => {
      times += 1
      if (times > 1) return models.complete(request, signal, onPart)
      for (const part of parts) onPart?.(part)
      signal.addEventListener('abort', () => released.resolve())
      return ResultAsync.fromSafePromise(released.promise).andThen(() =>
        errAsync<ModelReply, ModelFailure>({
          type: 'transient',
          kind: 'broken_off',
          message: 'it broke off',
          retryAfterMs: null,
        }),
      )
    },
  }
  return { slow, release: released.resolve }
}

const [token = ''] = FAKES['github-token'] ?? []

describe('parts of a run', () => {
  test('a failed reply is shown while it comes, and then withdrawn', async () => {
    await using shop = await Workshop.open([{ text: 'Now.', calls: [reachGoal] }])
    const observer = new Observer()
    const { slow, release } = slowModel(
      [
        { type: 'reasoning', text: 'Hm.' },
        { type: 'text', text: 'I will ' },
        { type: 'text', text: `use ${token.slice(0, 9)}` },
        { type: 'text', text: `${token.slice(9)} now\n` },
        { type: 'call', index: 0, tool: 'bash_exec' },
        { type: 'arguments', index: 0, text: '{"command":' },
      ],
      createModels({ RETRAI_LLM_BASE_URL: shop.url }),
    )
    shop.startAgent({ effects: { models: slow, liveParts: observer.live } })
    const runId = await shop.create()
    await observer.until(() => observer.seen.size > 0)
    const [first] = observer.all
    expect(first).toMatchObject({
      outcome: null,
      parts: {
        '{"of":"reasoning"}': 'Hm.',
        '{"of":"text"}': 'I will use [masked:github-token] now\n',
        '{"of":"arguments","call":0,"tool":"bash_exec"}': '{"command"',
      },
    })
    const before = await shop.records(runId)
    expect(before.length - 1).toBe(first?.seq)
    release()
    await shop.until(runId, 'run_end')
    expect(observer.all[0]?.outcome).toBe('withdrawn')
    expect(JSON.stringify(await shop.records(runId))).not.toContain('I will')
  })

  test('the output of a call and of the check is shown while the commands run', async () => {
    const command = 'echo one; echo two >&2; while ! test -f go; do sleep 0.01; done; touch done'
    await using shop = await Workshop.open([{ calls: [{ tool: 'bash_exec', args: { command } }] }])
    const observer = new Observer()
    shop.startAgent({ effects: { liveParts: observer.live } })
    const check_command =
      'echo checking; test -f done || exit; until test -f seen; do sleep 0.01; done'
    const success_condition = { exit_code: 0 }
    const runId = await shop.create({ shell_goal: { check_command, success_condition } })
    const outputs = () => observer.all.flatMap(({ parts }) => Object.entries(parts))
    const ofCall = () => outputs().find(([name]) => name.includes('"call_id":"'))?.[1] ?? ''
    await observer.until(() => ofCall().includes('one') && ofCall().includes('two'))
    expect((await shop.records(runId)).at(-1)?.kind).toBe('tool_call')
    await shop.file('go', '')
    const ofCheck = ['{"of":"output","call_id":null}', 'checking\n']
    await observer.until(() => outputs().some((output) => isDeepStrictEqual(output, ofCheck)))
    await shop.file('seen', '')
    const records = await shop.until(runId, 'run_end')
    // The records may be there before the observer has heard of them.
    await observer.until(() => observer.all.every(({ outcome }) => outcome !== null))
    const call = observer.all.find(({ parts }) => Object.keys(parts)[0]?.includes('"call_id":"'))
    const asked = records.findIndex(({ kind }) => kind === 'tool_call')
    expect(call).toMatchObject({ seq: asked, outcome: { recordedUpTo: expect.any(Number) } })
  })
})
