import { randomUUID } from 'node:crypto'
import * as z from 'zod'
import { systemPrompt } from '../../src/agent/planning/introduction.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { RUN_STREAM_PREFIX, streamOf } from '../../src/log/run-log.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { NOT_ISOLATED } from '../not-isolated.ts'
import { idleGoal } from './idle-goal.ts'
import { must } from './must.ts'
import { ITERATIONS } from './script.ts'
import { now, type Service } from './service.ts'

const RunEnd = z.object({ payload: z.object({ iterations: z.literal(ITERATIONS) }) })

/** Starts runs in this process by appending to the log, and sees in the log when they end. */
export class InProcess {
  readonly #service: Service
  readonly #config: RunConfig
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>()
  readonly #stop = new AbortController()
  readonly #watching: Promise<void>

  constructor(service: Service, project: string) {
    this.#service = service
    this.#config = {
      goal: idleGoal.name,
      cwd: project,
      model_name: 'scripted-model',
      max_iterations: ITERATIONS,
      hitl_enabled: false,
      max_cost_usd: null,
      max_tokens: null,
      max_seconds: null,
      shell_goal: null,
    }
    this.#watching = this.#watch()
  }

  async runOnce(): Promise<void> {
    const runId = randomUUID()
    const ended = Promise.withResolvers<void>()
    this.#waiting.set(streamOf(runId), ended)
    const command = {
      type: 'create',
      runId,
      config: this.#config,
      system_prompt: systemPrompt(this.#config, NOT_ISOLATED),
    } as const
    const author = { commandId: randomUUID() }
    must(await handleCommand(this.#service.store, runId, command, { author, now }))
    await ended.promise
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#watching
    await this.#service.close()
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop
    const options = { after: null, prefix: RUN_STREAM_PREFIX, signal }
    for await (const item of this.#service.store.subscribeAll(options)) {
      if (item.type === 'events') for (const event of item.events) this.#notice(event)
    }
  }

  #notice(event: RecordedEvent): void {
    if (event.type !== 'run_end') return
    const ended = this.#waiting.get(event.stream)
    this.#waiting.delete(event.stream)
    if (RunEnd.safeParse(JSON.parse(event.data)).success) ended?.resolve()
    else ended?.reject(new Error(`a run did not end as planned: ${event.data}`))
  }
}
